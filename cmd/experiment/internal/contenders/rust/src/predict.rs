//! Predictions with ONNX Runtime, in a session for each core.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{Cursor, Read};
use std::sync::{Mutex, OnceLock};
use std::thread;

use lambda_runtime::Error;
use ort::environment::Environment;
use ort::session::Session;
use ort::value::TensorRef;
use ureq::Agent;

const SIDE: usize = 224;

static SESSIONS: OnceLock<Vec<Mutex<Session>>> = OnceLock::new();

/// Loads the model that the environment names, if it does.
pub fn load() -> Result<(), Error> {
    let Some(model) = env::var_os("DEDUPE_MODEL") else {
        return Ok(());
    };
    let library = env::var_os("DEDUPE_ONNXRUNTIME").ok_or("DEDUPE_ONNXRUNTIME is not set")?;
    let environment = ort::init_from(&library)?.with_telemetry(false).build()?;
    let mut sessions = Vec::new();
    for _ in 0..thread::available_parallelism()?.get() {
        sessions.push(Mutex::new(open(&environment, &model)?));
    }
    SESSIONS.set(sessions).map_err(|_| "loaded twice".into())
}

fn open(environment: &Environment, model: &OsStr) -> ort::Result<Session> {
    let mut builder = Session::builder(environment)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?;
    builder.commit_from_file(model)
}

/// What the image of task i shows: the class, its logit, and the digest of all logits.
pub fn predict(i: usize, agent: &Agent, source: &str) -> Result<String, Error> {
    let sessions = SESSIONS.get().ok_or("no model: DEDUPE_MODEL is not set")?;
    let image = read(agent, source)?;
    let mut session = sessions[i % sessions.len()].lock().unwrap();
    let pixels = decode(&image).map_err(|e| format!("{source}: {e}"))?;
    let input = TensorRef::from_array_view(([1, 3, SIDE, SIDE], &pixels[..]))?;
    let outputs = session.run(ort::inputs![input])?;
    let (_, logits) = outputs[0].try_extract_tensor::<f32>()?;
    let mut top = 0;
    let mut digest = blake3::Hasher::new();
    for (class, logit) in logits.iter().enumerate() {
        digest.update(&logit.to_le_bytes());
        if *logit > logits[top] {
            top = class;
        }
    }
    let digest = digest.finalize().to_hex();
    Ok(format!("{top} {:.6} {digest}", logits[top]))
}

/// The content of a file or a URL.
fn read(agent: &Agent, source: &str) -> Result<Vec<u8>, Error> {
    if !source.starts_with("http://") {
        return fs::read(source).map_err(|e| format!("{source}: {e}").into());
    }
    let mut content = Vec::new();
    let body = crate::get(agent, source)?.read_to_end(&mut content);
    body.map_err(|e| format!("{source}: {e}"))?;
    Ok(content)
}

/// All red values of a PNG file, then all green ones, then all blue ones, each about
/// between -1 and 1.
fn decode(content: &[u8]) -> Result<Vec<f32>, Error> {
    let mut reader = png::Decoder::new(Cursor::new(content)).read_info()?;
    let mut pixels = vec![0; reader.output_buffer_size().ok_or("it is too large")?];
    let info = reader.next_frame(&mut pixels)?;
    if info.color_type != png::ColorType::Rgb || info.buffer_size() != 3 * SIDE * SIDE {
        return Err(format!("make it {SIDE} pixels wide and high, 8-bit RGB").into());
    }
    let plane = |c| pixels[c..].iter().step_by(3);
    let planes = plane(0).chain(plane(1)).chain(plane(2));
    Ok(planes.map(|&v| (f32::from(v) - 127.) / 128.).collect())
}
