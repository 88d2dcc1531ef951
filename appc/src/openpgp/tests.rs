//! What the parts do together.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{self, Read};

use pgp::{
    composed::MessageBuilder,
    crypto::{
        aead::{AeadAlgorithm, ChunkSize},
        hash::HashAlgorithm,
        sym::SymmetricKeyAlgorithm,
    },
    types::{CompressionAlgorithm, StringToKey},
};
use rand::rngs::OsRng;

use super::{Decrypted, OpenPgpError, Passphrase, decrypt, encrypt};

fn passphrase(word: &str) -> Passphrase {
    Passphrase::new(word.as_bytes()).unwrap()
}

/// Half a megabyte that does not compress away.
fn file() -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 60) as u8
    };
    (0..500_000).map(|_| next()).collect()
}

fn fast() -> StringToKey {
    StringToKey::new_iterated(OsRng, HashAlgorithm::Sha256, 0)
}

fn seipd1(cipher: SymmetricKeyAlgorithm, compression: Option<CompressionAlgorithm>) -> Vec<u8> {
    let file = file();
    let mut message = MessageBuilder::from_reader("name.aci", file.as_slice()).seipd_v1(OsRng, cipher);
    if let Some(compression) = compression {
        message.compression(compression);
    }
    message.encrypt_with_password(fast(), &"secret".into()).unwrap();
    message.to_vec(OsRng).unwrap()
}

fn seipd2(aead: AeadAlgorithm, s2k: StringToKey) -> Vec<u8> {
    let file = file();
    let mut message = MessageBuilder::from_reader("", file.as_slice()).seipd_v2(
        OsRng,
        SymmetricKeyAlgorithm::AES256,
        aead,
        ChunkSize::C4KiB,
    );
    message.encrypt_with_password(OsRng, s2k, &"secret".into()).unwrap();
    message.to_vec(OsRng).unwrap()
}

fn read_all(mut decrypted: Decrypted<'_>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    decrypted.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn open(message: &[u8], word: &str) -> Result<Vec<u8>, OpenPgpError> {
    let read = decrypt(message, &[passphrase(word)]).and_then(read_all);
    read.map_err(|error| OpenPgpError::of(&error).cloned().unwrap_or_else(|| panic!("{error:?}")))
}

// APPC-068
#[test]
fn what_is_encrypted_is_decrypted() {
    let mut message = Vec::new();
    encrypt(file().as_slice(), &passphrase("secret"), &mut message).unwrap();
    assert_eq!(open(&message, "secret").unwrap(), file());
    assert_eq!(open(&message, "Secret"), Err(OpenPgpError::WrongPassphrase));
    let start = &file()[..64];
    assert!(!message.windows(64).any(|part| part == start));
}

// APPC-068
#[test]
fn all_ciphers_modes_and_compressions() {
    use SymmetricKeyAlgorithm::{AES128, AES192, AES256};
    for cipher in [AES128, AES192, AES256] {
        for compression in [
            None,
            Some(CompressionAlgorithm::ZIP),
            Some(CompressionAlgorithm::ZLIB),
            Some(CompressionAlgorithm::BZip2),
        ] {
            assert_eq!(
                open(&seipd1(cipher, compression), "secret").unwrap(),
                file(),
                "{cipher:?} {compression:?}"
            );
        }
    }
    for aead in [AeadAlgorithm::Ocb, AeadAlgorithm::Eax, AeadAlgorithm::Gcm] {
        assert_eq!(open(&seipd2(aead, fast()), "secret").unwrap(), file());
        assert_eq!(open(&seipd2(aead, fast()), "other"), Err(OpenPgpError::WrongPassphrase));
    }
    let argon = |memory| StringToKey::new_argon2(OsRng, 1, 1, memory);
    assert_eq!(open(&seipd2(AeadAlgorithm::Ocb, argon(8)), "secret").unwrap(), file());
}

#[test]
fn the_passphrase_that_opens_is_told() {
    let message = seipd1(SymmetricKeyAlgorithm::AES128, None);
    let all = ["a", "b", "secret", "c"].map(passphrase);
    assert_eq!(decrypt(message.as_slice(), &all).unwrap().passphrase(), 2);
    let error = decrypt(message.as_slice(), &[]).unwrap_err();
    assert_eq!(OpenPgpError::of(&error), Some(&OpenPgpError::NoPassphrase));
}

#[test]
fn every_change_is_found() {
    for message in [
        seipd1(SymmetricKeyAlgorithm::AES256, None),
        seipd1(SymmetricKeyAlgorithm::AES256, Some(CompressionAlgorithm::ZLIB)),
        seipd1(SymmetricKeyAlgorithm::AES256, Some(CompressionAlgorithm::BZip2)),
        seipd2(AeadAlgorithm::Ocb, fast()),
    ] {
        let length = message.len();
        for place in [200, length / 3, length / 2, length - 30, length - 10, length - 1] {
            let mut changed = message.clone();
            changed[place] ^= 0x10;
            let error = open(&changed, "secret").unwrap_err();
            // What is broken where it begins looks as if it had another passphrase.
            let early = place == 200 && error == OpenPgpError::WrongPassphrase;
            assert!(early || error == OpenPgpError::Changed, "{place} of {length}: {error:?}");
        }
        for kept in [1, 10, 60, 70, 100, length / 2, length - 23, length - 1] {
            let error = open(&message[..kept], "secret").unwrap_err();
            assert_eq!(error, OpenPgpError::Truncated, "{kept} of {length}");
        }
        let mut longer = message.clone();
        longer.extend_from_slice(b"\xcb\x03abc");
        assert!(matches!(open(&longer, "secret"), Err(OpenPgpError::Malformed(_))));
    }
}

// APPC-070
#[test]
fn what_is_not_to_be_opened_is_refused_by_name() {
    for (cipher, name) in [
        (SymmetricKeyAlgorithm::CAST5, "CAST5"),
        (SymmetricKeyAlgorithm::TripleDES, "3DES"),
        (SymmetricKeyAlgorithm::Twofish, "Twofish"),
    ] {
        assert_eq!(open(&seipd1(cipher, None), "secret"), Err(OpenPgpError::Cipher(name.to_owned())));
    }
    let costly = open(b"\x8c\x16\x06\x09\x04\0\0", "secret");
    assert!(matches!(costly, Err(OpenPgpError::Truncated | OpenPgpError::Malformed(_))), "{costly:?}");
    // The key of a passphrase, and then encrypted data of the old kind.
    let key = b"\x8c\x0d\x04\x09\x03\x0212345678\xff";
    assert_eq!(open(&[&key[..], b"\xc9\x05abcde"].concat(), "secret"), Err(OpenPgpError::Unprotected));
    // The key of a public key, and then what it opens.
    let public = b"\x84\x0c\x0312345678\x01\0\0";
    assert_eq!(open(&[&public[..], b"\xd2\x05\x01abcd"].concat(), "secret"), Err(OpenPgpError::PublicKey));
    let gigabyte = b"\x8e\x40\0\0\0\x04";
    assert!(matches!(open(gigabyte, "secret"), Err(OpenPgpError::Truncated)));
    let many = [&key[..]; 40].concat();
    assert!(matches!(open(&many, "secret"), Err(OpenPgpError::Malformed(_))));
}

#[test]
fn noise_is_no_message() {
    let mut state = 7_u64;
    for length in 0..2000 {
        let noise: Vec<u8> = (0..length % 200)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) as u8
            })
            .collect();
        for start in [&b""[..], b"\x8c\x0d\x04\x09\x03\x0212345678\x10", b"-----BEGIN PGP MESSAGE-----\n\n"] {
            assert!(
                decrypt([start, &noise].concat().as_slice(), &[passphrase("x")]).and_then(read_all).is_err()
            );
        }
    }
}

/// Gives some bytes and then an error.
struct Breaks<'a>(&'a [u8]);

impl Read for Breaks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, "reset"));
        }
        self.0.read(buffer)
    }
}

#[test]
fn errors_of_the_input_stay_what_they_are() {
    let message = seipd1(SymmetricKeyAlgorithm::AES256, Some(CompressionAlgorithm::ZLIB));
    for kept in [0, 5, 70, 90, 1000, message.len() / 2] {
        let read = decrypt(Breaks(&message[..kept]), &[passphrase("secret")]).and_then(read_all);
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset, "{kept}");
    }
}

/// What gpg writes since version 2.3, whose `--symmetric` seals in the mode OCB: the example of draft-koch-librepgp.
#[test]
fn messages_of_newer_gpgs() {
    let hex = "c33d05070203089f0b7da3e5ea64779099e326e5400a90936cefb4e8eba08c6773716d1f2714540a38fcac529949dac5\
               29d3de31e15b4aeb729e330033dbedd4490107020e5ed2bc1e470abe8f1d644c7a6c8a567b0f7701196611a154ba9c25\
               74cd056284a8ef68035c623d93cc708a43211bb6eaf2b27f7c18d571bcd83b20add3a08b73af15b9a098";
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let message: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
    assert_eq!(crate::aci::sniff(&message), crate::aci::FileKind::OpenPgp);
    assert_eq!(open(&message, "password").unwrap(), b"Hello, world!\n");
    assert_eq!(open(&message, "secret"), Err(OpenPgpError::WrongPassphrase));
    for place in 82..message.len() {
        let mut changed = message.clone();
        changed[place] ^= 1;
        assert_eq!(open(&changed, "password"), Err(OpenPgpError::Changed), "{place}");
        assert_eq!(open(&message[..place], "password"), Err(OpenPgpError::Truncated), "{place}");
    }
}
