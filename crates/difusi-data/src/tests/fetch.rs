//! Fetching from a small HTTP server on this machine that behaves well or badly on demand.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{shared_data, write};
use crate::fetch::download;
use crate::named::{Checksum, RemoteFile};
use crate::{DataError, FetchEvent, FetchOptions, NamedSet, NamedWeights, fetch, fetch_weights};

/// How the server answers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Good,
    IgnoresRange,
    /// Closes the connection after so many bytes of the first answer.
    Cuts(usize),
    /// Sends the same first bytes again and again, whatever the range.
    CutsAlways(usize),
    /// Answers another range than asked for.
    Shifts,
    /// Never answers.
    Silent,
}

/// A server of one folder in memory; gone when the test ends.
struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(files: Vec<(String, Vec<u8>)>, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, requests) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let log = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = serve(stream, &files, manner, &log);
            }
        });
        Self { address, requests }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// One request: its first line, and where its range starts.
fn request(reader: &mut impl BufRead) -> std::io::Result<(String, Option<usize>)> {
    let (mut line, mut range) = (String::new(), None);
    reader.read_line(&mut line)?;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? <= 2 {
            return Ok((line, range));
        }
        if let Some(v) = header.to_ascii_lowercase().strip_prefix("range: bytes=") {
            range = v.split('-').next().and_then(|n| n.parse().ok());
        }
    }
}

/// Answers one request and closes; a CONNECT (this server as a proxy) is agreed to first.
fn serve(
    stream: TcpStream,
    files: &[(String, Vec<u8>)],
    manner: Manner,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let (mut reader, mut out) = (BufReader::new(stream.try_clone()?), stream);
    let (line, range) = loop {
        let (line, range) = request(&mut reader)?;
        log.lock().unwrap().push(format!("{} {}", line.trim(), range.map_or("-".into(), |r| r.to_string())));
        if !line.starts_with("CONNECT") {
            break (line, range);
        }
        out.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    };
    let path = line.split(' ').nth(1).unwrap_or("/").trim_start_matches('/');
    let Some((_, body)) = files.iter().find(|(name, _)| name == path) else {
        return out.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    if manner == Manner::Silent {
        std::thread::sleep(Duration::from_secs(3));
        return Ok(());
    }
    let n = body.len();
    let start = range.filter(|_| !matches!(manner, Manner::IgnoresRange | Manner::CutsAlways(_)));
    let (status, extra, from) = match start {
        Some(s) if s >= n => ("416 Range Not Satisfiable", format!("Content-Range: bytes */{n}\r\n"), n),
        Some(s) => {
            let s = if manner == Manner::Shifts { s - 1 } else { s };
            ("206 Partial Content", format!("Content-Range: bytes {s}-{}/{n}\r\n", n - 1), s)
        }
        None => ("200 OK", String::new(), 0),
    };
    write!(out, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{extra}Connection: close\r\n\r\n", n - from)?;
    let end = match manner {
        Manner::Cuts(after) if range.is_none() => after,
        Manner::CutsAlways(after) => after,
        _ => n,
    };
    out.write_all(&body[from..end])
}

fn body() -> Vec<u8> {
    (0..100_000u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect()
}

/// MD5 of [`body`], by Python's hashlib.
const FILE: RemoteFile =
    RemoteFile { name: "f.bin", checksum: Checksum::Md5("3ed5161f9554535ccf1edb0c935bd6d7"), max_bytes: 1 << 20 };

fn options() -> FetchOptions {
    FetchOptions {
        mirror: None,
        connect_timeout: Duration::from_millis(700),
        read_timeout: Duration::from_millis(700),
        retries: 2,
    }
}

/// Downloads [`FILE`] from the addresses; bytes received and events.
fn get(urls: &[String], dest: &Path) -> (Result<u64, DataError>, Vec<FetchEvent>) {
    let mut events = Vec::new();
    (download(&FILE, urls, dest, &options(), &mut |e| events.push(e)), events)
}

fn good(bytes: Vec<u8>, manner: Manner) -> Server {
    Server::start(vec![("f.bin".into(), bytes)], manner)
}

fn check_whole(dest: &Path) {
    assert_eq!(std::fs::read(dest.join("f.bin")).unwrap(), body());
    assert!(!dest.join("f.bin.part").exists());
}

#[test]
fn fresh_then_present() {
    let (dir, server) = (tempfile::tempdir().unwrap(), good(body(), Manner::Good));
    let (received, events) = get(&[server.url("f.bin")], dir.path());
    assert_eq!(received.unwrap(), 100_000);
    assert_eq!(events.last(), Some(&FetchEvent::Finished { file: "f.bin".into() }));
    let whole = FetchEvent::Progress { file: "f.bin".into(), done: 100_000, total: Some(100_000) };
    assert!(events.contains(&whole), "{events:?}");
    check_whole(dir.path());
    let (received, events) = get(&[server.url("f.bin")], dir.path());
    assert_eq!((received.unwrap(), events), (0, vec![FetchEvent::Present { file: "f.bin".into() }]));
    assert_eq!(server.requests().len(), 1);
    // a wrong file with the right name is replaced
    write(&dir.path().join("f.bin"), b"old");
    assert_eq!(get(&[server.url("f.bin")], dir.path()).0.unwrap(), 100_000);
    check_whole(dir.path());
}

/// A `.part` file is continued; a server without ranges sends all; a whole `.part` needs nothing.
#[test]
fn resumes() {
    for (manner, have, expected) in [
        (Manner::Good, 60_000, 40_000),
        (Manner::IgnoresRange, 60_000, 100_000),
        (Manner::Shifts, 60_000, 100_000),
        (Manner::Good, 100_000, 0),
    ] {
        let (dir, server) = (tempfile::tempdir().unwrap(), good(body(), manner));
        write(&dir.path().join("f.bin.part"), &body()[..have]);
        assert_eq!(get(&[server.url("f.bin")], dir.path()).0.unwrap(), expected, "{manner:?}");
        assert!(server.requests()[0].ends_with(&format!(" {have}")), "{:?}", server.requests());
        check_whole(dir.path());
    }
}

/// A `.part` file of something else is thrown away and the file fetched anew.
#[test]
fn stale_part() {
    for length in [500, 100_000, 150_000] {
        let (dir, server) = (tempfile::tempdir().unwrap(), good(body(), Manner::Good));
        write(&dir.path().join("f.bin.part"), &vec![1; length]);
        get(&[server.url("f.bin")], dir.path()).0.unwrap();
        check_whole(dir.path());
    }
}

#[test]
fn cut_connection() {
    let (dir, server) = (tempfile::tempdir().unwrap(), good(body(), Manner::Cuts(30_000)));
    let (received, events) = get(&[server.url("f.bin")], dir.path());
    assert_eq!(received.unwrap(), 100_000);
    let resumed = |e: &FetchEvent| matches!(e, FetchEvent::Started { resumed_from: 30_000, .. });
    assert!(events.iter().any(resumed), "{events:?}");
    check_whole(dir.path());
}

/// Many bytes that lead no farther than before are no reason to ask for ever.
#[test]
fn the_same_bytes_again_are_no_progress() {
    let (dir, server) = (tempfile::tempdir().unwrap(), good(vec![0; 3 << 20], Manner::CutsAlways(2 << 20)));
    let file = RemoteFile { max_bytes: 4 << 20, ..FILE };
    let e = download(&file, &[server.url("f.bin")], dir.path(), &options(), &mut |_| {}).unwrap_err().to_string();
    assert!(e.contains("after 2097152"), "{e}");
    assert_eq!(server.requests().len(), 4, "one that leads farther, one in vain and two retries");
}

/// A wrong checksum, a missing file and a dead server: the next mirror is asked; with none left the error lists all.
#[test]
fn mirrors_in_order() {
    let (dir, right) = (tempfile::tempdir().unwrap(), good(body(), Manner::Good));
    let wrong = good(vec![7; 5000], Manner::Good);
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let bad = vec![wrong.url("f.bin"), wrong.url("no.bin"), format!("http://{dead}/f.bin")];
    let (result, events) = get(&bad, dir.path());
    let e = result.unwrap_err().to_string();
    assert!(
        e.contains("cannot fetch f.bin")
            && e.contains("checksum of 5000 bytes is")
            && e.contains("expected 3ed5161f9554535ccf1edb0c935bd6d7"),
        "{e}"
    );
    assert!(e.contains("no.bin: HTTP 404") && e.contains(&dead.to_string()) && e.contains("DIFUSI_MIRROR"), "{e}");
    assert_eq!(events.iter().filter(|e| matches!(e, FetchEvent::Failed { .. })).count(), 3);
    assert!(!dir.path().join("f.bin").exists() && !dir.path().join("f.bin.part").exists());
    let all = [&bad[..], &[right.url("f.bin")]].concat();
    get(&all, dir.path()).0.unwrap();
    check_whole(dir.path());
}

#[test]
fn silence_and_floods_end() {
    let (dir, server) = (tempfile::tempdir().unwrap(), good(body(), Manner::Silent));
    assert!(get(&[server.url("f.bin")], dir.path()).0.unwrap_err().to_string().contains("timeout"));
    let flood = good(vec![0; 2 << 20], Manner::Good);
    let e = get(&[flood.url("f.bin")], dir.path()).0.unwrap_err().to_string();
    assert!(e.contains("file has 2097152 bytes; expected at most 1048576"), "{e}");
}

/// The whole of MNIST from a mirror, at either place of the files.
#[test]
fn mnist_from_a_mirror() {
    let Some(shared) = shared_data("mnist") else { return };
    for prefix in ["mnist/", ""] {
        let names = NamedSet::Mnist.files().iter().map(|f| f.name);
        let files = names.map(|n| (format!("{prefix}{n}"), std::fs::read(shared.join(n)).unwrap())).collect();
        let (dir, server) = (tempfile::tempdir().unwrap(), Server::start(files, Manner::Good));
        let options = FetchOptions { mirror: Some(server.url("")), ..options() };
        let dest = dir.path().join("cache/mnist");
        let fetched = fetch(NamedSet::Mnist, &dest, &options, &mut |_| {}).unwrap();
        assert_eq!(
            (fetched.received, fetched.folder.as_path()),
            (9_912_422 + 28_881 + 1_648_877 + 4_542, dest.as_path())
        );
        let again = fetch(NamedSet::Mnist, &dest, &options, &mut |_| {}).unwrap();
        assert_eq!(again.received, 0);
        let search = crate::Search { cache: Some(dir.path().join("cache")), ..Default::default() };
        let config = crate::IdxConfig { split: crate::Split::Test, ..Default::default() };
        let opened = crate::DataConfig::Idx(config).open(&crate::OpenOptions { search, ..Default::default() }).unwrap();
        assert_eq!(opened.count(), 10_000);
    }
}

/// Where only the first digits of a checksum are published they are what counts.
#[test]
fn a_checksum_by_its_first_digits() {
    for (digits, right) in [("6bcecbb0", true), ("6726825d", false)] {
        let (dir, server) = (tempfile::tempdir().unwrap(), good(body(), Manner::Good));
        let file = RemoteFile { checksum: Checksum::Sha256(digits), ..FILE };
        let result = download(&file, &[server.url("f.bin")], dir.path(), &options(), &mut |_| {});
        match right {
            true => check_whole(dir.path()),
            false => {
                let e = result.unwrap_err().to_string();
                assert!(e.contains("expected 6726825d"), "{e}");
            }
        }
    }
}

/// Weights are asked for at a mirror's either place, hashed, and refused where they are something else.
#[test]
fn weights_from_a_mirror() {
    let (dir, which) = (tempfile::tempdir().unwrap(), NamedWeights::Inception);
    for prefix in ["inception/", ""] {
        let name = format!("{prefix}{}", which.file_name());
        let server = Server::start(vec![(name.clone(), body())], Manner::Good);
        let options = FetchOptions { mirror: Some(server.url("")), ..options() };
        let e = fetch_weights(which, &dir.path().join("inception"), &options, &mut |_| {}).unwrap_err().to_string();
        assert!(e.contains("cannot fetch pt_inception") && e.contains("expected 6726825d"), "{e}");
        assert!(server.requests().iter().any(|r| r.contains(&format!("/{name}"))), "{:?}", server.requests());
    }
    assert!(which.addresses().iter().all(|a| a.starts_with("https://") && a.ends_with("6726825d.pth")));
}

/// Two fetches into one folder would tear the same file: the second is refused, the first goes on.
#[test]
#[cfg(unix)]
fn one_fetch_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let other = std::fs::File::open(dir.path()).unwrap();
    other.lock().unwrap();
    let mirror = Some("http://127.0.0.1:1".to_owned());
    let again =
        || fetch(NamedSet::Mnist, dir.path(), &FetchOptions { mirror: mirror.clone(), ..options() }, &mut |_| {});
    assert!(matches!(again().unwrap_err(), DataError::Busy { .. }));
    drop(other);
    assert!(matches!(again().unwrap_err(), DataError::Download { .. }));
}

/// The environment's proxy is used: this test runs itself again with `HTTP_PROXY` set.
#[test]
fn through_a_proxy() {
    let server = good(body(), Manner::Good);
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::fetch::proxied", "--ignored"])
        .env("HTTP_PROXY", format!("http://{}", server.address))
        .env("DIFUSI_TEST_PROXIED", "1")
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .env_remove("ALL_PROXY")
        .env_remove("http_proxy")
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    let requests = server.requests();
    assert!(requests.iter().any(|r| r.contains("mirror.invalid")), "{requests:?}");
}

#[test]
#[ignore = "run by through_a_proxy, which sets HTTP_PROXY"]
fn proxied() {
    if std::env::var_os("DIFUSI_TEST_PROXIED").is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    get(&["http://mirror.invalid/f.bin".into()], dir.path()).0.unwrap();
    check_whole(dir.path());
}
