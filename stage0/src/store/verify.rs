//! Verifying an image before anything of it is unpacked.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use appc::{
    aci::{self, Limits, ReadError},
    schema::ImageManifest,
    types::ImageName,
};

use rkt_pod::message::plain;

use super::{
    Result, StoreError,
    sealed::{Image, Keys},
};
use crate::{
    files::Step,
    http::{Client, Document},
    output::note,
    trust::{Keystore, Signature, TrustError},
};

/// Largest file of signatures, in bytes.
const MAX_SIGNATURE: u64 = 1 << 20;

/// Whether somebody must have signed an image.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Verification<'a> {
    /// The user trusts the file as it is.
    Insecure,
    /// Somebody whom the keystore trusts.
    Signed(Signed<'a>),
}

/// Who must have signed what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signed<'a> {
    /// The trusted keys.
    pub(crate) keystore: &'a Keystore,
    /// The signature.
    pub(crate) signature: SignatureFrom<'a>,
    /// The name that the image was asked for by. It, and its labels, must be the image's.
    pub(crate) name: Option<&'a ImageName>,
}

/// Where a signature is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SignatureFrom<'a> {
    /// In a file.
    File(&'a Path),
    /// At a URL.
    Url(&'a str, Client<'a>),
}

impl<'a> Verification<'a> {
    /// Whether somebody must have signed.
    pub(super) fn is_needed(&self) -> bool {
        matches!(self, Verification::Signed(_))
    }

    /// Gets what the image from `shown` is checked with, before anything of the image itself is got.
    pub(super) fn prepare(&self, shown: &str) -> Result<Option<Check<'a>>> {
        match self {
            Verification::Insecure => Ok(None),
            Verification::Signed(signed) => signed.prepare(shown).map(Some),
        }
    }
}

/// What an image is checked with.
#[derive(Debug)]
pub(super) struct Check<'a> {
    signed: Signed<'a>,
    /// None where the server gives it only after the image.
    signature: Option<Signature>,
}

/// Where the signature of an image is that is in this file, or at the URL with this path.
pub(crate) fn signature_beside(image: &str) -> String {
    format!("{}.aci.asc", image.strip_suffix(".aci").unwrap_or(image))
}

impl<'a> Signed<'a> {
    fn prepare(&self, shown: &str) -> Result<Check<'a>> {
        let untrusted = |source: TrustError| StoreError::Untrusted { path: shown.to_owned(), source };
        let signature = self.get(shown)?;
        if signature.is_none() {
            note("image", "server requested deferring the signature download");
        }
        if let (Some(signature), Some(name)) = (&signature, self.name) {
            // Who is not trusted need not be asked for the image.
            let name = name.name.as_str();
            let keys = self.keystore.keys(name).map_err(untrusted)?;
            signature.check_issuer(&keys, name).map_err(untrusted)?;
        }
        Ok(Check { signed: *self, signature })
    }

    /// Gets the signature, unless the server gives it only later.
    fn get(&self, shown: &str) -> Result<Option<Signature>> {
        let (place, bytes) = match self.signature {
            SignatureFrom::File(path) => {
                (path.display().to_string(), read(path).map(Document::Whole).map_err(Into::into))
            }
            SignatureFrom::Url(url, client) => {
                (plain(url), client.signature(url, MAX_SIGNATURE).map_err(Into::into))
            }
        };
        match bytes {
            Ok(Document::Whole(bytes)) => Signature::read(&bytes, &place)
                .map(Some)
                .map_err(|source| StoreError::Untrusted { path: shown.to_owned(), source }),
            Ok(Document::Deferred) => Ok(None),
            Err(source) => Err(StoreError::Unsigned { path: shown.to_owned(), signature: place, source }),
        }
    }

    /// Gets the signature that the server gives after the image.
    fn get_deferred(&self, shown: &str) -> Result<Signature> {
        self.get(shown)?.ok_or_else(|| StoreError::Other {
            path: shown.to_owned(),
            reason: "the server defers its signature (HTTP status code 202) even after the image".to_owned(),
        })
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_SIGNATURE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Check<'_> {
    /// Verifies that the image in `blob`, which came from `shown`, is signed as it is, and is the one that was asked for.
    pub(super) fn verify(&self, blob: &Path, shown: &str, keys: &Keys<'_>) -> Result<()> {
        let untrusted = |source: TrustError| StoreError::Untrusted { path: shown.to_owned(), source };
        let open = || File::open(blob).step("open", blob);
        // Whose signature it must have is known by its name, which is all that is taken of it before.
        let mut image = Image::open(open()?, keys, shown)?;
        let manifest = aci::read_manifest(&mut image, &Limits::default()).map_err(|error| match error {
            ReadError::Invalid(source) => StoreError::Invalid { path: shown.to_owned(), source },
            ReadError::Io(source) | ReadError::Visit(source) => StoreError::of_io(shown, source),
        });
        let manifest = manifest.map_err(|error| image.blame(error, shown))?;
        let manifest = ImageManifest::from_slice(&manifest)
            .map_err(|error| StoreError::Invalid { path: shown.to_owned(), source: error.into() })?;
        self.check_name(&manifest, shown)?;
        let name = manifest.name.as_str();
        let keys = self.signed.keystore.keys(name).map_err(untrusted)?;
        let deferred;
        let signature = match &self.signature {
            Some(signature) => signature,
            None => {
                deferred = self.signed.get_deferred(shown)?;
                &deferred
            }
        };
        let verified = signature.verify(&keys, name, open()?).map_err(untrusted)?;
        note("image", &format!("signature verified:\n  {}", verified.identities.join("\n  ")));
        Ok(())
    }

    fn check_name(&self, manifest: &ImageManifest, shown: &str) -> Result<()> {
        let Some(asked) = self.signed.name else { return Ok(()) };
        let other = |what: &str, wanted: &str, found: &str| {
            Err(StoreError::Other {
                path: shown.to_owned(),
                reason: format!("its {what} is {found:?}, where {wanted:?} was asked for"),
            })
        };
        if manifest.name != asked.name {
            return other("name", asked.name.as_str(), manifest.name.as_str());
        }
        for label in &asked.labels {
            let found = manifest.labels.get(label.name.as_str());
            if found != Some(label.value.as_str()) {
                return other(&format!("label {}", label.name), &label.value, found.unwrap_or_default());
            }
        }
        Ok(())
    }
}

/// Copies an image as it is, to be verified and unpacked from the copy. It is no larger than an image may be.
pub(super) fn copy(input: impl Read, to: &Path, shown: &str) -> Result<()> {
    let most = Limits::default().bytes;
    let failed = |source: io::Error| StoreError::Read { path: shown.to_owned(), source };
    let mut copy = File::create_new(to).step("make", to)?;
    let copied = io::copy(&mut input.take(most + 1), &mut copy).map_err(failed)?;
    if copied > most {
        return Err(failed(io::Error::other(format!("it has more than {most} bytes"))));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::signature_beside;

    // APPC-065
    #[test]
    fn a_signature_stands_beside_its_image() {
        assert_eq!(signature_beside("/a/b.aci"), "/a/b.aci.asc");
        assert_eq!(signature_beside("b"), "b.aci.asc");
    }
}
