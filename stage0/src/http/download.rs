//! An image on its way.

use std::{
    fs::File,
    io::{self, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    Client, HttpError, Partial, Schemes,
    cache::{header, lifetime},
    limits::{DOWNLOAD, Rate},
    request::{Request, again},
};

/// What a server has of an image.
pub(crate) enum Answer {
    /// It is what we have already.
    NotModified,
    /// The image.
    Image(Download),
}

/// An image on its way. What is read of it is in the file of the [`Partial`] by then, from its beginning.
pub(crate) struct Download {
    /// By what the server will know it again.
    pub(crate) etag: Option<String>,
    /// For how many seconds nobody need ask again.
    pub(crate) max_age: i64,
    /// Its bytes.
    pub(crate) body: Box<dyn Read + Send>,
    /// How many they are, where the server says so.
    pub(crate) length: Option<u64>,
    /// How many of them came earlier.
    pub(crate) continued: u64,
    /// Whether it was interrupted, and may be continued.
    pub(crate) interrupted: Arc<AtomicBool>,
}

impl Client<'_> {
    /// An image, unless it is still the one that has `etag`. What `partial` has of it is continued where the server still
    /// has the same.
    ///
    /// # Errors
    /// Where there is none. Reading it may fail, too.
    pub(crate) fn image(
        self,
        url: &str,
        etag: Option<&str>,
        partial: &mut Partial,
    ) -> Result<Answer, HttpError> {
        // Whatever comes is verified by its signature, or the user has asked for it as it is.
        let agent = self.agent(Schemes::All, DOWNLOAD);
        loop {
            let resume = partial.resume().map(|(from, validator)| (from, validator.to_owned()));
            let range = resume.as_ref().map(|(from, _)| format!("bytes={from}-"));
            // An image is what is stored under its URL: nobody packs it for the way.
            let mut headers = vec![("Accept-Encoding", "identity")];
            headers.extend(etag.map(|etag| ("If-None-Match", etag)));
            if let (Some(range), Some((_, validator))) = (&range, &resume) {
                headers.extend([("Range", range.as_str()), ("If-Range", validator.as_str())]);
            }
            let secrets = |url: &str| self.secrets(url);
            let request =
                Request { agent: &agent, url, schemes: Schemes::All, headers: &headers, secrets: &secrets };
            let response = again(|| {
                let response = request.send()?;
                match response.status().as_u16() {
                    200 | 304 => Ok(response),
                    206 | 416 if resume.is_some() => Ok(response),
                    status => Err(HttpError::status(url, status)),
                }
            })?;
            let status = response.status().as_u16();
            if status == 304 {
                return Ok(Answer::NotModified);
            }
            let broken = |error: rkt_pod::files::FileError| HttpError::new(url, error.to_string());
            let (parts, body) = response.into_parts();
            let (from, total, kept) = match resume {
                Some((from, _)) if status != 200 => {
                    let Some(total) = partial.continues(&parts.headers, from).filter(|_| status == 206)
                    else {
                        // It has something else now: what there is of it is of no use.
                        partial.restart();
                        continue;
                    };
                    (from, Some(total), partial.continued(from).map_err(broken)?)
                }
                _ => {
                    let total = header(&parts.headers, "content-length").and_then(|text| text.parse().ok());
                    (0, total, partial.start(url, &parts.headers, total).map_err(broken)?)
                }
            };
            if total.is_some_and(|total| total > self.largest()) {
                partial.restart();
                return Err(HttpError::new(url, too_large(self.largest())));
            }
            let interrupted = Arc::new(AtomicBool::new(false));
            let data = partial.data();
            let first = File::open(&data).map_err(|error| HttpError::new(url, error.to_string()))?;
            let body = Box::new(Incoming {
                first: first.take(from),
                rest: Box::new(body.into_reader()),
                kept,
                url: rkt_pod::message::plain(url),
                data: data.display().to_string(),
                received: from,
                total,
                largest: self.largest(),
                rate: Rate::new(),
                interrupted: Arc::clone(&interrupted),
            });
            return Ok(Answer::Image(Download {
                etag: header(&parts.headers, "etag"),
                max_age: lifetime(&parts.headers),
                body,
                length: total,
                continued: from,
                interrupted,
            }));
        }
    }
}

/// The bytes of an image: those that came earlier, then those that come. The latter are kept before anybody sees them.
struct Incoming {
    first: io::Take<File>,
    rest: Box<dyn Read + Send>,
    kept: File,
    url: String,
    data: String,
    received: u64,
    total: Option<u64>,
    largest: u64,
    rate: Rate,
    interrupted: Arc<AtomicBool>,
}

impl Incoming {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let named = |error: &dyn std::fmt::Display, kind: io::ErrorKind| {
            io::Error::new(kind, format!("download {}: {error}", self.url))
        };
        let passing = |error: io::Error| {
            self.interrupted.store(true, Ordering::Relaxed);
            named(&error, error.kind())
        };
        let length = self.rest.read(buffer).map_err(passing)?;
        self.received += length as u64;
        match self.total {
            Some(total) if self.received > total => {
                return Err(named(
                    &format!("it has more than the {total} bytes announced"),
                    io::ErrorKind::InvalidData,
                ));
            }
            Some(total) if length == 0 && self.received < total => {
                let text = format!("it ends after {} of {total} bytes", self.received);
                return Err(passing(io::Error::new(io::ErrorKind::UnexpectedEof, text)));
            }
            _ if self.received > self.largest => {
                return Err(named(&too_large(self.largest), io::ErrorKind::InvalidData));
            }
            _ => {}
        }
        self.rate.count(length).map_err(passing)?;
        let write = self.kept.write_all(&buffer[..length]);
        write.map_err(|error| io::Error::new(error.kind(), format!("write {}: {error}", self.data)))?;
        Ok(length)
    }
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.first.read(buffer)? {
            0 if !buffer.is_empty() => self.receive(buffer),
            length => Ok(length),
        }
    }
}

fn too_large(largest: u64) -> String {
    format!("it has more than {largest} bytes")
}
