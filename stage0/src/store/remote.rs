//! Importing an image from a URL.

use appc::types::ImageId;

use super::{
    ImageRecord, Result, Store, StoreError,
    import::{Import, seconds_now},
    index::{Origin, Remote},
    sealed::Keys,
    verify::Verification,
};
use crate::{
    http::{Answer, Client},
    output::note,
};

/// When an image is fetched that the store may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PullPolicy {
    /// Never.
    Never,
    /// Where it is not in the store.
    New,
    /// Whenever the server has a newer one.
    Update,
}

impl Store {
    /// The image at a URL, downloaded where the policy says so.
    pub(crate) fn import_url(
        &self,
        url: &str,
        client: Client<'_>,
        policy: PullPolicy,
        verification: Verification<'_>,
        keys: Keys<'_>,
    ) -> Result<ImageRecord> {
        let _lock = if policy == PullPolicy::Never { None } else { Some(self.lock(url)?) };
        let known = self.downloaded(url, verification.is_needed())?;
        match (&known, policy) {
            (Some((_, image)), PullPolicy::Never | PullPolicy::New) => return Ok(image.clone()),
            (None, PullPolicy::Never) => {
                return Err(StoreError::Lookup(format!(
                    "image {url} was not found in the store, and --pull-policy=never forbids to fetch it"
                )));
            }
            (Some((remote, image)), PullPolicy::Update) if is_fresh(remote) => {
                note("image", &format!("image for {url} isn't expired, not fetching."));
                return Ok(image.clone());
            }
            _ => {}
        }
        let import = Import { shown: url, check: verification.prepare(url)?, keys };
        let etag = known.as_ref().and_then(|(remote, _)| remote.etag.as_deref());
        let download = match (client.image(url, etag)?, &known) {
            (Answer::NotModified, Some((_, image))) => return Ok(image.clone()),
            (Answer::NotModified, None) => {
                return Err(StoreError::Lookup(format!(
                    "{url}: the server says that we have it, but we do not"
                )));
            }
            (Answer::Image(download), _) => download,
        };
        let remote = Remote {
            url: url.to_owned(),
            etag: download.etag,
            max_age: download.max_age,
            time: seconds_now(),
            verified: verification.is_needed(),
        };
        self.import(download.body, &import, &Origin::Remote(&remote))
    }

    /// What was downloaded from a URL, where the store still has the image.
    pub(crate) fn downloaded(&self, url: &str, verified: bool) -> Result<Option<(Remote, ImageRecord)>> {
        let Some((remote, id)) = self.index.by_url(url)? else { return Ok(None) };
        if verified && !remote.verified {
            return Ok(None);
        }
        let Ok(id) = id.parse::<ImageId>() else { return Ok(None) };
        let image = self.index.by_id(id.as_str())?.filter(|image| self.is_whole(image));
        if let Some(image) = &image {
            self.touch(image)?;
        }
        Ok(image.map(|image| (remote, image)))
    }
}

fn is_fresh(remote: &Remote) -> bool {
    let age = seconds_now().saturating_sub(remote.time);
    (0..remote.max_age).contains(&age)
}
