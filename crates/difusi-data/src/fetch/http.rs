//! One file over HTTP(S): continues a `.part` file with a range request, starts over where the server ignores it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use ureq::Agent;
use ureq::http::{Response, StatusCode};

use super::{Events, FetchEvent, FetchOptions, hash};
use crate::DataError;
use crate::named::RemoteFile;

/// Bytes between two progress events.
const STEP: u64 = 1 << 18;
/// New bytes of the file after which a broken connection does not count as one of the retries.
const PROGRESS: u64 = 1 << 20;

/// A file on its way.
struct Job<'a> {
    file: &'a RemoteFile,
    part: PathBuf,
    agent: Agent,
    received: u64,
    /// Most bytes of the file that were ever there.
    farthest: u64,
}

/// Why an attempt ended.
enum Attempt {
    /// The file is whole and right.
    Done,
    /// The connection broke after bytes came; the same mirror may be asked again.
    Cut(String),
    /// This mirror is of no use.
    Refused(String),
    /// The bytes are wrong and were thrown away; a fresh start may help when they were partly old.
    Wrong { reason: String, resumed: bool },
}

/// Brings a file into `dest`; returns the bytes received. A right file is left alone.
pub(crate) fn download(
    file: &RemoteFile,
    urls: &[String],
    dest: &Path,
    options: &FetchOptions,
    events: Events<'_>,
) -> Result<u64, DataError> {
    let target = dest.join(file.name);
    if target.is_file() && hash::check(&target, file.checksum)?.is_ok() {
        events(FetchEvent::Present { file: file.name.into() });
        return Ok(0);
    }
    let part = dest.join(format!("{}.part", file.name));
    let mut job = Job { file, part, agent: agent(options, true), received: 0, farthest: 0 };
    let mut attempts = Vec::new();
    for url in urls {
        job.agent = agent(options, !is_this_machine(url));
        if try_mirror(&mut job, url, options.retries, &mut attempts, events)? {
            std::fs::rename(&job.part, &target).map_err(DataError::io("write", &target))?;
            events(FetchEvent::Finished { file: file.name.into() });
            return Ok(job.received);
        }
    }
    Err(DataError::Download { file: file.name.into(), attempts })
}

/// Whether an address is on this machine: no proxy is asked for it.
fn is_this_machine(url: &str) -> bool {
    let uri = url.parse::<ureq::http::Uri>();
    uri.is_ok_and(|u| u.host().is_some_and(|h| h == "localhost" || h == "[::1]" || h.starts_with("127.")))
}

/// A client that reads the environment's proxy (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`) and gives up on
/// silence.
fn agent(options: &FetchOptions, proxy: bool) -> Agent {
    Agent::config_builder()
        .proxy(ureq::Proxy::try_from_env().filter(|_| proxy))
        .http_status_as_error(false)
        .user_agent(concat!("difusi/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(options.connect_timeout))
        .timeout_recv_response(Some(options.connect_timeout))
        .timeout_per_read(Some(options.read_timeout))
        .build()
        .new_agent()
}

/// Asks one mirror until it gives the file, or has nothing more to give.
fn try_mirror(
    job: &mut Job<'_>,
    url: &str,
    retries: u32,
    attempts: &mut Vec<String>,
    events: Events<'_>,
) -> Result<bool, DataError> {
    let mut left = retries;
    loop {
        let before = job.farthest;
        let (reason, again) = match attempt(job, url, events)? {
            Attempt::Done => return Ok(true),
            Attempt::Cut(reason) => (reason, true),
            Attempt::Refused(reason) => (reason, false),
            Attempt::Wrong { reason, resumed } => (reason, resumed),
        };
        let reason = format!("{url}: {reason}");
        events(FetchEvent::Failed { file: job.file.name.into(), reason: reason.clone() });
        attempts.push(reason);
        if job.farthest - before >= PROGRESS {
            left = retries;
        } else if left > 0 {
            left -= 1;
        } else {
            return Ok(false);
        }
        if !again {
            return Ok(false);
        }
    }
}

/// One request.
fn attempt(job: &mut Job<'_>, url: &str, events: Events<'_>) -> Result<Attempt, DataError> {
    let have = std::fs::metadata(&job.part).map_or(0, |m| m.len());
    events(FetchEvent::Started { file: job.file.name.into(), url: url.into(), resumed_from: have });
    let mut request = job.agent.get(url);
    if have > 0 {
        request = request.header("Range", format!("bytes={have}-"));
    }
    let mut response = match request.call() {
        Ok(r) => r,
        Err(e) => return Ok(Attempt::Refused(e.to_string())),
    };
    let start = match response.status() {
        StatusCode::PARTIAL_CONTENT if range_start(&response) == Some(have) => have,
        StatusCode::OK => 0,
        // What is there is as long as the file or longer: the checksum decides.
        StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => return finish(job, have, have),
        StatusCode::PARTIAL_CONTENT => return restart(job, "the server answers another range than asked for"),
        status => return Ok(Attempt::Refused(format!("HTTP {status}"))),
    };
    match receive(job, &mut response, start, events)? {
        Ok(length) => finish(job, start, length),
        Err(attempt) => Ok(attempt),
    }
}

/// The first byte of a partial answer: `Content-Range: bytes START-END/TOTAL`.
fn range_start<B>(response: &Response<B>) -> Option<u64> {
    let range = response.headers().get("content-range")?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

/// Throws away what is there; the same mirror is asked for the whole file.
fn restart(job: &Job<'_>, reason: &str) -> Result<Attempt, DataError> {
    std::fs::remove_file(&job.part).map_err(DataError::io("remove", &job.part))?;
    Ok(Attempt::Wrong { reason: reason.into(), resumed: true })
}

/// Appends the body from byte `start` on; the length of the file, or why it is not whole.
fn receive(
    job: &mut Job<'_>,
    response: &mut Response<ureq::Body>,
    start: u64,
    events: Events<'_>,
) -> Result<Result<u64, Attempt>, DataError> {
    let total = response.body().content_length().map(|l| l + start);
    let limit = job.file.max_bytes;
    if let Some(total) = total.filter(|t| *t > limit) {
        return Ok(Err(Attempt::Refused(format!("file has {total} bytes; expected at most {limit}"))));
    }
    let mut out = open_part(&job.part, start)?;
    let mut reader = response.body_mut().with_config().limit(u64::MAX).reader();
    let (mut done, mut told, mut buffer) = (start, start, vec![0; 1 << 16]);
    loop {
        let n = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) => return Ok(Err(Attempt::Cut(format!("connection broke after {done} bytes: {e}")))),
        };
        out.write_all(&buffer[..n]).map_err(DataError::io("write", &job.part))?;
        (done, job.received) = (done + n as u64, job.received + n as u64);
        job.farthest = job.farthest.max(done);
        if done > limit {
            drop(out);
            std::fs::remove_file(&job.part).map_err(DataError::io("remove", &job.part))?;
            return Ok(Err(Attempt::Refused(format!("more than {limit} bytes came"))));
        }
        if done - told >= STEP || Some(done) == total {
            events(FetchEvent::Progress { file: job.file.name.into(), done, total });
            told = done;
        }
    }
    out.sync_all().map_err(DataError::io("write", &job.part))?;
    match total.filter(|t| *t > done) {
        Some(t) => Ok(Err(Attempt::Cut(format!("connection closed after {done} of {t} bytes")))),
        None => Ok(Ok(done)),
    }
}

fn open_part(part: &Path, start: u64) -> Result<File, DataError> {
    let mut options = OpenOptions::new();
    options.create(true).write(true);
    if start > 0 {
        options.append(true)
    } else {
        options.truncate(true)
    };
    options.open(part).map_err(DataError::io("write", part))
}

/// Compares the checksum of a file of `length` bytes, `start` of which were there before.
fn finish(job: &Job<'_>, start: u64, length: u64) -> Result<Attempt, DataError> {
    let Err((found, expected)) = hash::check(&job.part, job.file.checksum)? else { return Ok(Attempt::Done) };
    std::fs::remove_file(&job.part).map_err(DataError::io("remove", &job.part))?;
    let reason = format!("checksum of {length} bytes is {found}; expected {expected}");
    Ok(Attempt::Wrong { reason, resumed: start > 0 })
}
