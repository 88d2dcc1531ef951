//! Decrypting a message in the stream.

use std::{
    fmt,
    io::{self, BufRead, Chain, Cursor, Read},
};

use pgp::{
    composed::PlainSessionKey,
    crypto::{aead::AeadAlgorithm, sym::SymmetricKeyAlgorithm},
    packet::{
        GnupgAeadDataConfig, PacketHeader, StreamDecryptor, SymEncryptedProtectedDataConfig as Protection,
    },
    types::{Seipdv1ReadMode, SkeskVersion, Tag},
};

use super::{
    OpenPgpError, Passphrase,
    armour::{Failed, Watch, bytes},
    content::Content,
    packet::{Body, ended, header, unexpected},
    session::{Keys, PREFIX, check_cipher, fits},
};

/// Most bytes of a packet before the encrypted data.
const MAX_KEY: u64 = 16 * 1024;

/// Most packets before the encrypted data.
const MAX_KEYS: usize = 16;

type Input<'a> = Box<dyn BufRead + Send + 'a>;
type Encrypted<'a> = Chain<Cursor<Vec<u8>>, Body<Input<'a>>>;
type Plain<'a> = Watch<StreamDecryptor<Encrypted<'a>>>;

/// The file in a message. Nothing of it is verified before `read` has returned `Ok(0)`.
pub struct Decrypted<'a> {
    content: Content<Plain<'a>>,
    passphrase: usize,
    /// Whether the input failed, which says nothing of the message.
    input: Failed,
    /// Whether decrypting failed, or the input.
    decryption: Failed,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Reading,
    Done,
    Failed(OpenPgpError),
    /// The input failed.
    Broken,
}

impl fmt::Debug for Decrypted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decrypted")
            .field("passphrase", &self.passphrase)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// Opens the message that `input` begins with, armoured or not, with the first of the passphrases that opens it. Memory
/// does not grow with the message: it takes 9 MiB at most, and while the key is made 64 MiB where the message says so.
///
/// # Errors
/// [`OpenPgpError`] in one of [`io::Error`], or what reading `input` gave.
pub fn decrypt<'a>(input: impl Read + Send + 'a, passphrases: &[Passphrase]) -> io::Result<Decrypted<'a>> {
    let (mut source, input) = bytes(input)?;
    let (header, keys) = keys(&mut source)?;
    let body = Body::new(&header, source);
    let (decryptor, passphrase) = decryptor(header.tag(), body, &keys, passphrases)?;
    let (plain, decryption) = Watch::new(decryptor);
    let content = Content::open(plain).map_err(|error| match OpenPgpError::of(&error) {
        Some(OpenPgpError::Truncated | OpenPgpError::SignedInside) => error,
        _ if input.has() => error,
        _ if decryption.has() => OpenPgpError::Changed.into(),
        // A wrong key that seemed to fit gives noise.
        _ => OpenPgpError::WrongPassphrase.into(),
    })?;
    Ok(Decrypted { content, passphrase, input, decryption, state: State::Reading })
}

impl Decrypted<'_> {
    /// Which of the passphrases opened it.
    pub fn passphrase(&self) -> usize {
        self.passphrase
    }

    fn next(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.content.read(buffer)?;
        if length > 0 || buffer.is_empty() {
            return Ok(length);
        }
        self.content.finish()?;
        // Decryption is at its end, which the integrity protection has vouched for.
        let (_, body) = self.content.source().inner.get_mut().get_mut();
        io::copy(body, &mut io::sink())?;
        if header(body.source())?.is_some() {
            return Err(OpenPgpError::Malformed("something follows it".to_owned()).into());
        }
        self.state = State::Done;
        Ok(0)
    }

    /// What an error means.
    fn meaning(&self, error: &io::Error) -> Option<OpenPgpError> {
        match OpenPgpError::of(error) {
            Some(known) => Some(known.clone()),
            None if self.input.has() => None,
            None if self.decryption.has() => Some(OpenPgpError::Changed),
            None => Some(OpenPgpError::Malformed(error.to_string())),
        }
    }

    /// Notes an error, and finds the one that is behind it: what was changed makes no sense either.
    fn fail(&mut self, error: io::Error) -> io::Error {
        let mut meaning = self.meaning(&error);
        if meaning.is_some() && !self.decryption.has() {
            let rest = io::copy(self.content.source(), &mut io::sink());
            if let Err(error) = rest {
                meaning = self.meaning(&error);
            }
        }
        match meaning {
            Some(meaning) => {
                self.state = State::Failed(meaning.clone());
                meaning.into()
            }
            None => {
                self.state = State::Broken;
                error
            }
        }
    }
}

impl Read for Decrypted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.state {
            State::Reading => {}
            State::Done => return Ok(0),
            State::Failed(error) => return Err(error.clone().into()),
            State::Broken => return Err(io::Error::other("reading it has failed before")),
        }
        match self.next(buffer) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(self.fail(error)),
            result => result,
        }
    }
}

/// The packets before the encrypted data, and the header of the packet that has it.
fn keys(source: &mut Input<'_>) -> io::Result<(PacketHeader, Keys)> {
    let (mut keys, mut public) = (Keys::default(), false);
    for _ in 0..=MAX_KEYS {
        let header = header(source)?.ok_or(OpenPgpError::Truncated)?;
        let body = Body::new(&header, &mut *source);
        match header.tag() {
            Tag::SymKeyEncryptedSessionKey => keys.add(header, &body.small(MAX_KEY)?)?,
            Tag::PublicKeyEncryptedSessionKey => {
                body.small(MAX_KEY)?;
                public = true;
            }
            Tag::Marker | Tag::Padding => drop(body.small(MAX_KEY)?),
            Tag::SymEncryptedData => return Err(OpenPgpError::Unprotected.into()),
            Tag::SymEncryptedProtectedData | Tag::GnupgAeadData if !keys.is_empty() => {
                return Ok((header, keys));
            }
            Tag::SymEncryptedProtectedData | Tag::GnupgAeadData if public => {
                return Err(OpenPgpError::PublicKey.into());
            }
            tag => return Err(unexpected(tag)),
        }
    }
    Err(OpenPgpError::Malformed(format!("it has more than {MAX_KEYS} keys")).into())
}

/// What decrypts a body, and which of the passphrases opened it.
fn decryptor<'a>(
    tag: Tag,
    mut body: Body<Input<'a>>,
    keys: &Keys,
    passphrases: &[Passphrase],
) -> io::Result<(StreamDecryptor<Encrypted<'a>>, usize)> {
    let broken = |error: pgp::errors::Error| match error {
        pgp::errors::Error::IO { source, .. } => ended(source),
        error => OpenPgpError::Malformed(error.to_string()).into(),
    };
    if tag == Tag::GnupgAeadData {
        let config = GnupgAeadDataConfig::try_from_reader(&mut body).map_err(broken)?;
        check(config.sym_alg, config.aead)?;
        let (key, index) = find(
            keys,
            passphrases,
            &[SkeskVersion::V5],
            |key| matches!(key, PlainSessionKey::V5 { key } if key.len() == config.sym_alg.key_size()),
        )?;
        let source = Cursor::new(Vec::new()).chain(body);
        let raw = raw(&key);
        let decryptor = StreamDecryptor::gnupg_aead(
            config.sym_alg,
            config.aead,
            config.chunk_size,
            raw,
            &config.iv,
            source,
        );
        return Ok((decryptor.map_err(broken)?, index));
    }
    match Protection::try_from_reader(&mut body).map_err(broken)? {
        Protection::V1 => {
            let mut prefix = vec![0; PREFIX];
            keys.check(&[SkeskVersion::V4])?;
            body.read_exact(&mut prefix).map_err(ended)?;
            let (key, index) = find(keys, passphrases, &[SkeskVersion::V4], |key| match key {
                PlainSessionKey::V3_4 { sym_alg, key } => fits(*sym_alg, key.as_ref(), &prefix),
                _ => false,
            })?;
            let cipher = key.sym_algorithm().ok_or(OpenPgpError::WrongPassphrase)?;
            let source = Cursor::new(prefix).chain(body);
            let decryptor = StreamDecryptor::v1(cipher, Seipdv1ReadMode::Streaming, raw(&key), source);
            Ok((decryptor.map_err(broken)?, index))
        }
        Protection::V2 { sym_alg, aead, chunk_size, salt } => {
            check(sym_alg, aead)?;
            let (key, index) = find(keys, passphrases, &[SkeskVersion::V6], |key| match key {
                PlainSessionKey::V6 { key } => key.len() == sym_alg.key_size(),
                _ => false,
            })?;
            let source = Cursor::new(Vec::new()).chain(body);
            let decryptor = StreamDecryptor::v2(sym_alg, aead, chunk_size, &salt, raw(&key), source);
            Ok((decryptor.map_err(broken)?, index))
        }
    }
}

fn check(cipher: SymmetricKeyAlgorithm, aead: AeadAlgorithm) -> Result<(), OpenPgpError> {
    check_cipher(cipher)?;
    match aead {
        AeadAlgorithm::Eax | AeadAlgorithm::Ocb | AeadAlgorithm::Gcm => Ok(()),
        _ => Err(OpenPgpError::Malformed("its mode of encryption is not known".to_owned())),
    }
}

/// The first key that fits, and which of the passphrases gives it.
fn find(
    keys: &Keys,
    passphrases: &[Passphrase],
    versions: &[SkeskVersion],
    fits: impl Fn(&PlainSessionKey) -> bool,
) -> Result<(PlainSessionKey, usize), OpenPgpError> {
    keys.check(versions)?;
    if passphrases.is_empty() {
        return Err(OpenPgpError::NoPassphrase);
    }
    for (index, passphrase) in passphrases.iter().enumerate() {
        if let Some(key) = keys.of(passphrase, versions).find(&fits) {
            return Ok((key, index));
        }
    }
    Err(OpenPgpError::WrongPassphrase)
}

fn raw(key: &PlainSessionKey) -> &[u8] {
    match key {
        PlainSessionKey::V3_4 { key, .. } | PlainSessionKey::V5 { key } | PlainSessionKey::V6 { key } => {
            key.as_ref()
        }
    }
}
