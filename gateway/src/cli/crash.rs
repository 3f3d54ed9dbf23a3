//! Crash points, armed from outside. Only builds for the kill test have this.

use cellspace_cluster::arm_crash_point;
use std::io::{self, BufRead};

/// Arms the point in the environment variable `CELLSPACE_CRASH`, and later each one that comes as a line of standard input; answers those lines
/// with one of JSON.
///
/// # Errors
/// A text that says what is wrong with the variable.
pub fn listen() -> Result<(), String> {
    if let Ok(spec) = std::env::var("CELLSPACE_CRASH") {
        arm_crash_point(&spec)?;
    }
    std::thread::spawn(|| {
        for spec in io::stdin().lock().lines().map_while(Result::ok) {
            match arm_crash_point(&spec) {
                Ok(()) => println!("{}", serde_json::json!({ "armed": spec })),
                Err(reason) => eprintln!("error: {reason}"),
            }
        }
    });
    Ok(())
}
