//! From what a user writes to an image in the store: which kind of reference it is, where the image is, and who must
//! have signed it.

mod dependencies;
mod reference;
mod review;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use appc::{
    discovery::{self, NotFound},
    types::{ImageName, host_os_arch},
};

pub(crate) use reference::Reference;
pub(crate) use review::{Review, keys_of, trust_key};

use crate::{
    config::{Credential, InsecureOptions},
    http::{Client, HttpError, Schemes},
    keys::ImageKeys,
    oci::{self, Basic, Place, Source},
    output::{Progress, note},
    store::{ImageRecord, Keys, PullPolicy, SignatureFrom, Signed, Store, Verification, signature_beside},
    trust::Keystore,
};

/// Fetches images for one command.
#[derive(Debug)]
pub(crate) struct Fetcher<'a> {
    /// Where they go.
    pub(crate) store: &'a Store,
    /// Whom they are trusted of.
    pub(crate) keystore: &'a Keystore,
    /// Protections that the user does without.
    pub(crate) insecure: InsecureOptions,
    /// Whether keys that come over https need no review.
    pub(crate) trust_keys_from_https: bool,
    /// What hosts want to see.
    pub(crate) credentials: &'a BTreeMap<String, Credential>,
    /// What registries want to see.
    pub(crate) registries: &'a BTreeMap<String, Basic>,
    /// What opens encrypted images.
    pub(crate) keys: ImageKeys<'a>,
    /// When they are fetched.
    pub(crate) policy: PullPolicy,
    /// Where it is shown how far they are.
    pub(crate) progress: &'a Progress,
}

impl Fetcher<'_> {
    /// The image that `reference` means. Its signature is where it is expected, or in the file `signature`.
    /// What it depends on comes along.
    pub(crate) fn fetch(&self, reference: &Reference, signature: Option<&Path>) -> Result<ImageRecord> {
        let image = match reference {
            Reference::Id(id) => self.store.by_id(id)?,
            Reference::File(path) => self.file(path, signature)?,
            Reference::Url(url) => self.url(url, &signature_beside(url), signature, None, self.client())?,
            Reference::Name(name) => self.name(name, signature, self.client())?,
            Reference::Other(place) => self.other(place, signature)?,
        };
        self.dependencies(&image, &[])?;
        Ok(image)
    }

    fn client(&self) -> Client<'_> {
        Client::new(self.insecure.tls()).with(self.credentials)
    }

    /// Keys are for everybody: nobody need know who asks for them.
    fn anonymous(&self) -> Client<'_> {
        Client::new(self.insecure.tls())
    }

    /// What opens an image that was asked for by its name, or not.
    fn keys<'s>(&'s self, name: Option<&'s ImageName>) -> Keys<'s> {
        Keys { all: &self.keys, name }
    }

    /// What an image is verified by, if it is.
    fn verification<'s>(
        &'s self,
        signature: SignatureFrom<'s>,
        name: Option<&'s ImageName>,
    ) -> Verification<'s> {
        if self.insecure.image() {
            return Verification::Insecure;
        }
        Verification::Signed(Signed { keystore: self.keystore, signature, name })
    }

    /// An image of Docker's or OCI's kind. Nobody signs these in a way that we could verify.
    fn other(&self, place: &Place, signature: Option<&Path>) -> Result<ImageRecord> {
        if signature.is_some() {
            bail!("--signature: Docker and OCI images have no signatures of this kind");
        }
        if !self.insecure.image() {
            bail!(
                "Docker and OCI images have no signatures that could be verified; use --insecure-options=image if \
                 you trust where they are from"
            );
        }
        let source = Source {
            store: self.store,
            client: self.anonymous(),
            credentials: self.registries,
            allow_http: self.insecure.http(),
            policy: self.policy,
            progress: self.progress,
        };
        source.fetch(place)
    }

    fn file(&self, path: &Path, signature: Option<&Path>) -> Result<ImageRecord> {
        if let Some(image) = self.store.known_file(path, !self.insecure.image())? {
            return Ok(image);
        }
        if oci::is_archive(path) {
            return self.other(&Place::DockerArchive(path.to_owned(), None), signature);
        }
        let beside = PathBuf::from(signature_beside(&path.to_string_lossy()));
        let signature = SignatureFrom::File(signature.unwrap_or(&beside));
        Ok(self.store.import_file(path, self.verification(signature, None), self.keys(None))?)
    }

    /// An image at a URL, with its signature at another or in a file, which was asked for by its name, or not.
    fn url(
        &self,
        url: &str,
        asc: &str,
        signature: Option<&Path>,
        name: Option<&ImageName>,
        client: Client<'_>,
    ) -> Result<ImageRecord> {
        let signature = signature.map_or(SignatureFrom::Url(asc, self.client()), SignatureFrom::File);
        let verification = self.verification(signature, name);
        let keys = self.keys(name);
        Ok(self.store.import_url(url, client, self.policy, verification, keys, self.progress)?)
    }

    /// The image of a name, which `client` gets.
    fn name(&self, name: &ImageName, signature: Option<&Path>, client: Client<'_>) -> Result<ImageRecord> {
        if self.policy != PullPolicy::Update {
            match self.store.by_name(name)? {
                Some(image) => return Ok(image),
                None if self.policy == PullPolicy::Never => {
                    bail!(
                        "image \"{name}\" was not found in the store, and --pull-policy=never forbids to fetch it"
                    )
                }
                None => {}
            }
        }
        let name = with_platform(name)?;
        let schemes = if self.insecure.http() { Schemes::All } else { Schemes::Https };
        if !self.insecure.image() {
            self.look_for_keys(name.name.as_str());
        }
        match discovery::images(&name, &mut |place| self.client().page(place, schemes)) {
            Ok(found) => {
                let endpoint = found.found.first().context("discovery found nothing")?;
                self.url(&endpoint.aci, &endpoint.asc, signature, Some(&name), client)
            }
            Err(nowhere) => self.simple(&name, signature, schemes, &nowhere, client),
        }
    }

    /// The image at the place that its own name is, where no page says where it is. The pages come first: those who
    /// have them save the request that would fail.
    fn simple(
        &self,
        name: &ImageName,
        signature: Option<&Path>,
        schemes: Schemes,
        nowhere: &NotFound<HttpError>,
        client: Client<'_>,
    ) -> Result<ImageRecord> {
        let mut error = format!("image \"{name}\" is not in the store: {nowhere}");
        let silent = nowhere.failures.iter().filter(|(_, error)| !error.answered()).count();
        // A host that does not answer need not be asked once more.
        if silent < discovery::places(name.name.as_str()).count() {
            for scheme in schemes.names() {
                let Some(endpoint) = discovery::simple(name, scheme) else { break };
                match self.url(&endpoint.aci, &endpoint.asc, signature, Some(name), client) {
                    Ok(image) => return Ok(image),
                    Err(other) => write!(error, "; {other:#}")?,
                }
            }
        }
        bail!(error)
    }

    /// Looks for keys of a name that has none. That there are none, or that nobody accepts them, is told, and shows when
    /// the image cannot be verified.
    fn look_for_keys(&self, name: &str) {
        if self.keystore.keys(name).map_or(true, |keys| !keys.is_empty()) {
            return;
        }
        let secure = !self.insecure.tls() || self.insecure.pubkey();
        if !secure {
            note("image", "certificates are not checked: not looking for keys");
            return;
        }
        let http = self.insecure.http() && self.insecure.pubkey();
        let review = Review {
            keystore: self.keystore,
            prefix: Some(name),
            skip: false,
            trust_https: self.trust_keys_from_https,
        };
        let schemes = if http { Schemes::All } else { Schemes::Https };
        let looked = keys_of(name, self.client(), schemes).and_then(|places| {
            places.iter().try_for_each(|place| trust_key(&review, place, self.anonymous(), schemes))
        });
        if let Err(error) = looked {
            note("image", &rkt_pod::message::plain(&format!("no keys for {name:?}: {error:#}")));
        }
    }
}

/// The name, for this machine where it does not say otherwise.
fn with_platform(name: &ImageName) -> Result<ImageName> {
    let mut name = name.clone();
    let (os, arch) = host_os_arch();
    for (label, value) in [("os", os), ("arch", arch)] {
        if name.labels.get(label).is_none() {
            name.labels.set(label, value)?;
        }
    }
    Ok(name)
}
