//! Activations and their gradients, an element at a time.

/// y of v; the slope is 0 of ReLU, 1 of none.
pub fn activated(v: f32, slope: f32) -> f32 {
    below(v, v, slope)
}

/// dv of dy and y.
pub fn gated(dy: f32, y: f32, slope: f32) -> f32 {
    below(dy, y, slope)
}

/// The value, or where the sign is not above 0 slope times it. What isn't a number has no sign.
fn below(value: f32, sign: f32, slope: f32) -> f32 {
    if sign > 0.0 || sign.is_nan() {
        value
    } else if slope == 0.0 {
        0.0
    } else {
        slope * value
    }
}
