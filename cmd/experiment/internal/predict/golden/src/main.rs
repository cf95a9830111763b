//! Predicts the images of the experiment with tract, a runtime in Rust that shares no
//! code with ONNX Runtime: `golden MODEL IMAGES` prints, for each image, the class and
//! its logit.

use std::env;
use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use tract_onnx::prelude::*;

const IMAGES: usize = 100;
const SIDE: usize = 224;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let (Some(model), Some(images)) = (args.next(), args.next()) else {
        return Err("usage: golden MODEL IMAGES".into());
    };
    let model = tract_onnx::onnx()
        .model_for_path(model)?
        .with_input_fact(0, f32::fact([1, 3, SIDE, SIDE]).into())?
        .into_optimized()?
        .into_runnable()?;
    for i in 0..IMAGES {
        let image = normalize(&read(&Path::new(&images).join(format!("{i:03}.png")))?);
        let outputs = model.run(tvec!(image.into()))?;
        let logits = outputs[0].to_plain_array_view::<f32>()?;
        let (class, logit) = logits
            .iter()
            .enumerate()
            .max_by(|a, b| a.1.total_cmp(b.1))
            .ok_or("the model has no output")?;
        println!("{class} {logit:.6}");
    }
    Ok(())
}

/// The pixels of an image, RGB.
fn read(path: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut reader = png::Decoder::new(BufReader::new(File::open(path)?)).read_info()?;
    let mut pixels = vec![0; reader.output_buffer_size().ok_or("too large")?];
    let info = reader.next_frame(&mut pixels)?;
    if info.buffer_size() != 3 * SIDE * SIDE {
        return Err(format!("{}: not 8-bit RGB of {SIDE} pixels", path.display()).into());
    }
    Ok(pixels)
}

/// All red values, then all green ones, then all blue ones, each about between -1 and 1.
fn normalize(pixels: &[u8]) -> Tensor {
    tract_ndarray::Array4::from_shape_fn((1, 3, SIDE, SIDE), |(_, c, y, x)| {
        (f32::from(pixels[3 * (SIDE * y + x) + c]) - 127.) / 128.
    })
    .into()
}
