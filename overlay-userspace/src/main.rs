//! `overlay`.
fn main() {
    println!("overlay");
}
