//! Importing an image from a URL.

use std::{io, sync::atomic::Ordering, thread};

use appc::types::ImageId;
use backon::BackoffBuilder;

use super::{
    ImageRecord, Result, Store, StoreError,
    import::{Import, Input, seconds_now},
    origin::{Origin, Remote},
    sealed::Keys,
    verify::Verification,
};
use crate::{
    http::{Answer, Client, Partial, pauses},
    output::{Progress, note},
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

/// Why an image was not downloaded, which decides what becomes of what there is of it.
enum Failure {
    /// It is of no use.
    Wrong(StoreError),
    /// It is of no use, and was got in parts, which may not belong together whatever the server says.
    Patchwork(StoreError),
    /// The server does not send it.
    Unanswered(StoreError),
    /// The connection broke: trying again may help.
    Interrupted(StoreError),
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
        progress: &Progress,
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
        let known = known.map(|(remote, image)| (remote.etag, image));
        let mut partial = Partial::open(&self.base, url)?;
        let mut pauses = pauses().build();
        let mut anew = false;
        loop {
            match self.download(url, client, known.as_ref(), &mut partial, &import, progress) {
                Ok(image) => return Ok(image),
                Err(Failure::Patchwork(error)) if !anew => {
                    anew = true;
                    partial.restart();
                    progress.tell(&format!("{error}; downloading it anew"));
                }
                Err(Failure::Wrong(error) | Failure::Patchwork(error)) => return Err(error),
                Err(Failure::Unanswered(error)) => {
                    partial.keep();
                    return Err(error);
                }
                Err(Failure::Interrupted(error)) => {
                    let Some(pause) = pauses.next() else {
                        partial.keep();
                        return Err(error);
                    };
                    progress.tell(&format!("{error}; trying again"));
                    thread::sleep(pause);
                }
            }
        }
    }

    /// Downloads what is not in `partial` of the image at a URL, and imports it.
    fn download(
        &self,
        url: &str,
        client: Client<'_>,
        known: Option<&(Option<String>, ImageRecord)>,
        partial: &mut Partial,
        import: &Import<'_>,
        progress: &Progress,
    ) -> std::result::Result<ImageRecord, Failure> {
        let etag = known.and_then(|(etag, _)| etag.as_deref());
        let download = match (client.image(url, etag, partial), known) {
            (Ok(Answer::NotModified), Some((_, image))) => return Ok(image.clone()),
            (Ok(Answer::NotModified), None) => {
                let text = format!("{url}: the server says that we have it, but we do not");
                return Err(Failure::Wrong(StoreError::Lookup(text)));
            }
            (Ok(Answer::Image(download)), _) => download,
            // It was tried often enough. What came before can be continued by the next command.
            (Err(error), _) => return Err(Failure::Unanswered(error.into())),
        };
        let remote = Remote {
            url: url.to_owned(),
            etag: download.etag,
            max_age: download.max_age,
            time: seconds_now(),
            verified: import.check.is_some(),
        };
        let data = partial.data();
        if download.continued > 0 {
            progress.tell(&format!("continuing after {} bytes: {url}", download.continued));
        }
        let mut body = progress.reader(download.body, url, download.length);
        let input = Input::Download { body: &mut body, data: &data };
        self.import(input, import, &Origin::Remote(&remote)).map_err(|error| {
            match download.interrupted.load(Ordering::Relaxed) {
                true => Failure::Interrupted(error),
                false if is_wrong(&error) && download.continued > 0 => Failure::Patchwork(error),
                false => Failure::Wrong(error),
            }
        })
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

/// Whether other bytes would do, on the same disk.
fn is_wrong(error: &StoreError) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match error {
        StoreError::Invalid { .. } | StoreError::Untrusted { .. } => true,
        StoreError::Read { source, .. } => {
            !matches!(source.kind(), QuotaExceeded | ReadOnlyFilesystem | StorageFull)
        }
        _ => false,
    }
}

fn is_fresh(remote: &Remote) -> bool {
    let age = seconds_now().saturating_sub(remote.time);
    (0..remote.max_age).contains(&age)
}
