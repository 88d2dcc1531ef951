//! Where the bytes of an archive come from: decompressed and hashed, for large archives on threads of their own.

use std::{
    io::{self, BufRead, Read},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{Builder, Scope, ScopedJoinHandle},
};

use sha2::digest::{Digest, Output};

use super::AciError;

/// Archives up to this many bytes are read without threads, whose start would take longer than the work.
const SMALL: usize = 512 * 1024;

/// Bytes that are handed from thread to thread at once.
const CHUNK: usize = 128 * 1024;

/// Chunks that may wait for each of the threads.
const QUEUE: usize = 8;

type Chunk = Arc<Vec<u8>>;

/// The uncompressed archive, and its hash `D`.
#[derive(Debug)]
pub(super) struct Source<'scope, D> {
    current: Chunk,
    used: usize,
    rest: Option<Receiver<io::Result<Chunk>>>,
    pool: Arc<Pool>,
    hasher: Hasher<'scope, D>,
    /// Bytes that came before the current chunk.
    before: u64,
    limit: u64,
}

#[derive(Debug)]
enum Hasher<'scope, D> {
    Here(Box<D>),
    Thread(ScopedJoinHandle<'scope, D>),
}

/// Buffers that can be used again.
#[derive(Debug, Default)]
struct Pool(Mutex<Vec<Vec<u8>>>);

impl Pool {
    fn take(&self) -> Vec<u8> {
        let free = self.0.lock().ok().and_then(|mut free| free.pop());
        free.unwrap_or_else(|| Vec::with_capacity(CHUNK))
    }

    /// Takes a chunk back that nobody else reads.
    fn give(&self, chunk: Chunk) {
        if let Some(mut buffer) = Arc::into_inner(chunk)
            && buffer.capacity() == CHUNK
            && let Ok(mut free) = self.0.lock()
        {
            buffer.clear();
            free.push(buffer);
        }
    }
}

impl<'scope, D: Digest + Send + 'scope> Source<'scope, D> {
    /// Starts to read `reader`, of which at most `limit` bytes are accepted.
    pub(super) fn new<'env>(
        mut reader: Box<dyn Read + Send + 'env>,
        limit: u64,
        scope: &'scope Scope<'scope, 'env>,
    ) -> io::Result<Source<'scope, D>> {
        let mut first = Vec::new();
        reader.by_ref().take(SMALL as u64).read_to_end(&mut first)?;
        let mut hash = Box::new(D::new());
        let large = first.len() == SMALL;
        let first = Arc::new(first);
        let pool = Arc::new(Pool::default());
        let (hasher, rest) = if large {
            let (to_reader, rest) = sync_channel(QUEUE);
            let (to_hasher, hashed) = sync_channel::<Chunk>(QUEUE);
            let (pool_of_reader, pool_of_hasher) = (Arc::clone(&pool), Arc::clone(&pool));
            let start = Arc::clone(&first);
            let hasher = Builder::new().name("hash".to_owned()).spawn_scoped(scope, move || {
                hash.update(start.as_slice());
                for chunk in hashed {
                    hash.update(chunk.as_slice());
                    pool_of_hasher.give(chunk);
                }
                *hash
            })?;
            Builder::new()
                .name("decompress".to_owned())
                .spawn_scoped(scope, move || feed(reader, &pool_of_reader, &to_reader, &to_hasher))?;
            (Hasher::Thread(hasher), Some(rest))
        } else {
            hash.update(first.as_slice());
            (Hasher::Here(hash), None)
        };
        Ok(Source { current: first, used: 0, rest, pool, hasher, before: 0, limit })
    }

    /// Reads whatever is left and returns the hash of everything and its length.
    pub(super) fn finish(mut self) -> io::Result<(Output<D>, u64)> {
        loop {
            let length = self.fill_buf()?.len();
            if length == 0 {
                break;
            }
            self.consume(length);
        }
        let hash = match self.hasher {
            Hasher::Here(hash) => *hash,
            Hasher::Thread(thread) => {
                thread.join().map_err(|_| io::Error::other("the thread that hashes has failed"))?
            }
        };
        Ok((hash.finalize(), self.before + self.current.len() as u64))
    }
}

/// Hands chunks to the two other threads until there are none, or nobody wants them any more.
fn feed(
    mut reader: Box<dyn Read + Send + '_>,
    pool: &Pool,
    to_reader: &SyncSender<io::Result<Chunk>>,
    to_hasher: &SyncSender<Chunk>,
) {
    loop {
        let mut buffer = pool.take();
        let read = reader.by_ref().take(CHUNK as u64).read_to_end(&mut buffer);
        let done = !matches!(read, Ok(1..));
        let chunk = Arc::new(buffer);
        let wanted = match read {
            Err(error) => to_reader.send(Err(error)).is_ok(),
            Ok(0) => true,
            Ok(_) => to_hasher.send(Arc::clone(&chunk)).is_ok() && to_reader.send(Ok(chunk)).is_ok(),
        };
        if done || !wanted {
            return;
        }
    }
}

impl<D> BufRead for Source<'_, D> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used == self.current.len()
            && let Some(rest) = &self.rest
        {
            match rest.recv() {
                Ok(chunk) => {
                    self.before += self.current.len() as u64;
                    self.used = 0;
                    self.pool.give(std::mem::replace(&mut self.current, chunk?));
                }
                Err(_) => self.rest = None,
            }
        }
        if self.before + self.current.len() as u64 > self.limit {
            let message = format!("the uncompressed archive has more than {} bytes", self.limit);
            return Err(io::Error::other(AciError::Archive(message)));
        }
        Ok(&self.current[self.used..])
    }

    fn consume(&mut self, amount: usize) {
        self.used = self.current.len().min(self.used + amount);
    }
}

impl<D> Read for Source<'_, D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let there = self.fill_buf()?;
        let length = there.len().min(buffer.len());
        buffer[..length].copy_from_slice(&there[..length]);
        self.consume(length);
        Ok(length)
    }
}
