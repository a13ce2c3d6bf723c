//! The figures over HTTP, for Prometheus: `GET` of one path, one request a connection, no more of HTTP than that.

use std::{io, time::Duration};

use culver_runtime::{METRICS, Sample, Socket, StoragePool};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};
use tracing::debug;

/// Longest request head.
const REQUEST_LEN_MAX: usize = 8 * 1024;
/// How long a request, and taking its answer, may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pools whose figures are told.
#[derive(Clone, Debug)]
pub(crate) struct Pools {
    /// For storage.
    pub(crate) storage: StoragePool,
    /// For passwords.
    pub(crate) passwords: StoragePool,
}

/// Answers one request.
pub(crate) async fn serve(mut socket: Socket, path: &str, pools: &Pools) {
    let served = timeout(PATIENCE, async {
        let Some(request) = read_request(&mut socket).await? else { return Ok(()) };
        let answer = answer(&request, path, pools);
        socket.write_all(answer.as_bytes()).await?;
        socket.shutdown().await
    });
    match served.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "metrics not served"),
        Err(_) => debug!("metrics not served in time"),
    }
}

/// The request's first line, once its head is whole.
async fn read_request(socket: &mut Socket) -> io::Result<Option<String>> {
    let mut head = Vec::with_capacity(1024);
    loop {
        if head.windows(4).any(|end| end == b"\r\n\r\n") {
            let line = head.split(|&b| b == b'\r').next().unwrap_or_default();
            return Ok(Some(String::from_utf8_lossy(line).into_owned()));
        }
        if head.len() >= REQUEST_LEN_MAX || socket.read_buf(&mut head).await? == 0 {
            return Ok(None);
        }
    }
}

fn answer(request: &str, path: &str, pools: &Pools) -> String {
    let mut words = request.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let target = target.split('?').next().unwrap_or_default();
    let (status, body) = match method {
        "GET" | "HEAD" if target == path => ("200 OK", METRICS.render(&samples(pools))),
        "GET" | "HEAD" => ("404 Not Found", format!("Figures are at {path}\n")),
        _ => ("405 Method Not Allowed", "GET\n".to_owned()),
    };
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    if method == "HEAD" { head } else { head + &body }
}

fn samples(pools: &Pools) -> Vec<Sample> {
    const WAITING: (&str, &str) = ("culver_pool_waiting_steps", "Steps of work that wait for a thread.");
    const BUSY: (&str, &str) = ("culver_pool_busy_threads", "Threads that run a step of work.");
    let sample = |(name, help), labels, value: usize| Sample { name, help, labels, value: value as u64 };
    let mut samples = vec![
        sample(WAITING, "{pool=\"storage\"}", pools.storage.waiting_steps()),
        sample(WAITING, "{pool=\"passwords\"}", pools.passwords.waiting_steps()),
        sample(BUSY, "{pool=\"storage\"}", pools.storage.busy_threads()),
        sample(BUSY, "{pool=\"passwords\"}", pools.passwords.busy_threads()),
    ];
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        samples.push(sample(("process_open_fds", "Files that are open."), "", open.count()));
    }
    if let Some(bytes) = resident_memory() {
        samples.push(sample(("process_resident_memory_bytes", "Memory that is in use."), "", bytes));
    }
    samples
}

fn resident_memory() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}
