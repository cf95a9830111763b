//! A Lambda bootstrap that does tasks in threads: the contender in Rust of
//! `experiment run`.

use std::fs::{self, File};
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

#[cfg(feature = "predict")]
mod predict;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::{Deserialize, Serialize};
use ureq::Agent;

#[derive(Deserialize)]
struct Event {
    mode: Mode,
    tasks: NonZeroUsize,
    workers: NonZeroUsize,
    #[serde(flatten)]
    workload: Workload,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Threads,
}

#[derive(Deserialize)]
#[serde(tag = "workload", rename_all = "lowercase")]
enum Workload {
    Scan {
        root: PathBuf,
    },
    Fib {
        steps: u64,
    },
    Fetch {
        url: String,
    },
    #[cfg(feature = "predict")]
    Predict {
        root: String,
    },
}

#[derive(Serialize)]
struct Answer {
    digest: &'static str,
    checksums: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    #[cfg(feature = "predict")]
    predict::load()?;
    lambda_runtime::run(service_fn(handle)).await
}

async fn handle(event: LambdaEvent<Event>) -> Result<Answer, Error> {
    // It blocks, which the threads of tokio must not.
    tokio::task::spawn_blocking(|| answer(event.payload)).await?
}

fn answer(event: Event) -> Result<Answer, Error> {
    let Mode::Threads = event.mode;
    let (tasks, workers) = (event.tasks.get(), event.workers.get());
    let (digest, checksums) = match event.workload {
        Workload::Scan { root } => {
            let files = list_files(&root).map_err(|e| format!("{}: {e}", root.display()))?;
            if files.len() < tasks {
                let (root, files) = (root.display(), files.len());
                return Err(format!("{root} has {files} files, too few for {tasks} tasks").into());
            }
            ("blake3", in_threads(tasks, workers, |i| scan(&files[i]))?)
        }
        Workload::Fib { steps } => {
            let fib = |i| Ok(fib(i as u64, steps));
            ("", in_threads(tasks, workers, fib)?)
        }
        Workload::Fetch { url } => {
            let agent = new_agent();
            let fetch = |i| fetch(&agent, &format!("{url}/{i}"));
            ("blake3", in_threads(tasks, workers, fetch)?)
        }
        #[cfg(feature = "predict")]
        Workload::Predict { root } => {
            let agent = new_agent();
            let root = root.trim_end_matches('/');
            let predict = |i| predict::predict(i, &agent, &format!("{root}/{i:03}.png"));
            ("blake3", in_threads(tasks, workers, predict)?)
        }
    };
    Ok(Answer { digest, checksums })
}

/// Does the tasks in as many threads as there are workers. The first that fails
/// is the last to be begun.
fn in_threads<F>(tasks: usize, workers: usize, task: F) -> Result<Vec<String>, Error>
where
    F: Fn(usize) -> Result<String, Error> + Sync,
{
    let checksums = Mutex::new(vec![String::new(); tasks]);
    let next = AtomicUsize::new(0);
    let stop = || next.store(tasks, Ordering::Relaxed);
    let work = || -> Result<(), Error> {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= tasks {
                return Ok(());
            }
            let checksum = task(i).inspect_err(|_| stop())?;
            checksums.lock().unwrap()[i] = checksum;
        }
    };
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for _ in 0..workers.min(tasks) {
            let thread = thread::Builder::new().spawn_scoped(scope, work);
            threads.push(thread.inspect_err(|_| stop())?);
        }
        for thread in threads {
            thread.join().expect("no task panics")?;
        }
        Ok::<(), Error>(())
    })?;
    Ok(checksums.into_inner()?)
}

/// The regular files in a directory, sorted by the bytes of their names.
fn list_files(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn scan(path: &Path) -> Result<String, Error> {
    File::open(path)
        .and_then(digest)
        .map_err(|e| format!("{}: {e}", path.display()).into())
}

fn fib(mut a: u64, steps: u64) -> String {
    const PRIME: u64 = (1 << 61) - 1;
    let mut b = 1;
    for _ in 0..steps {
        (a, b) = (b, (a + b) % PRIME);
    }
    a.to_string()
}

fn new_agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .build()
        .new_agent()
}

fn fetch(agent: &Agent, url: &str) -> Result<String, Error> {
    Ok(digest(get(agent, url)?).map_err(|e| format!("{url}: {e}"))?)
}

/// The body of an answer with the status 200.
fn get(agent: &Agent, url: &str) -> Result<impl io::Read + use<>, Error> {
    let response = agent.get(url).call().map_err(|e| format!("{url}: {e}"))?;
    if response.status() != 200 {
        return Err(format!("{url}: status {}, want 200", response.status().as_u16()).into());
    }
    Ok(response.into_body().into_reader())
}

fn digest(content: impl io::Read) -> io::Result<String> {
    let mut digest = blake3::Hasher::new();
    digest.update_reader(content)?;
    Ok(digest.finalize().to_hex().to_string())
}
