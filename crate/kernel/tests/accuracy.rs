//! Distance from the f64 truth over distributions that are hard on f32.
//!
//! `cargo test --test accuracy -- --nocapture` prints what is reached, in ULP of
//! a result's magnitude and as a share of what rounding analysis allows.

mod bounds;
mod kernel;
mod naive;
mod tensors;

use batchnorm_kernel::Workspace;
use bounds::{Bounds, U};
use kernel::Parameters;
use naive::batch::Gradients;
use tensors::random::Random;
use tensors::{Placement, Shape, Tensor, wide};

/// Values of a channel, as many as asked for.
type Fill = Box<dyn Fn(&mut Random, usize) -> Vec<f32>>;

/// What a channel is filled with.
struct Distribution {
    name: &'static str,
    eps: f64,
    /// Whether roundings are independent of each other.
    random: bool,
    fill: Fill,
}

fn distribution(
    name: &'static str,
    random: bool,
    fill: impl Fn(&mut Random, usize) -> Vec<f32> + 'static,
) -> Distribution {
    Distribution { name, eps: 1e-5, random, fill: Box::new(fill) }
}

fn normal(name: &'static str, mean: f64, std: f64) -> Distribution {
    distribution(name, true, move |random, len| random.normals(len, mean, std))
}

/// Normal values of mean 0 behind one of another size.
fn outlier(name: &'static str, value: f32) -> Distribution {
    distribution(name, false, move |random, len| {
        let mut values = random.normals(len, 0.0, 1.0);
        values[0] = value;
        values
    })
}

fn distributions() -> Vec<Distribution> {
    let without_eps = |distribution| Distribution { eps: 0.0, ..distribution };
    vec![
        normal("std 1", 0.0, 1.0),
        normal("mean 1e4, std 1", 1e4, 1.0),
        normal("mean 1e5, std 1", 1e5, 1.0),
        normal("mean 1e6, std 1", 1e6, 1.0),
        normal("mean -1e7, std 1", -1e7, 1.0),
        normal("mean 7654321, std 1", 7_654_321.0, 1.0),
        without_eps(normal("mean 1, std 1e-6", 1.0, 1e-6)),
        normal("std 1e-6", 0.0, 1e-6),
        without_eps(normal("std 1e-15, eps 0", 0.0, 1e-15)),
        without_eps(normal("std 1e-20, eps 0", 0.0, 1e-20)),
        without_eps(normal("std 1e-30, eps 0", 0.0, 1e-30)),
        normal("std 1e-40 (denormals)", 0.0, 1e-40),
        normal("std 1e18", 0.0, 1e18),
        normal("mean 1e18, std 1e18", 1e18, 1e18),
        normal("std 1e19", 0.0, 1e19),
        normal("std 1e25", 0.0, 1e25),
        normal("std 1e37", 0.0, 1e37),
        outlier("outlier 1e6 first", 1e6),
        outlier("outlier 1e18 first", 1e18),
        outlier("outlier 3e38 first", 3e38),
        distribution("rectified", true, |random, len| {
            random.normals(len, 0.0, 1.0).iter().map(|value| value.max(0.0)).collect()
        }),
        distribution("log-normal", true, |random, len| {
            (0..len).map(|_| (3.0 * random.normal()).exp() as f32).collect()
        }),
        // The same rounding in every addition of a lane.
        distribution("0.1 and 0.3 in turn", false, |_, len| {
            (0..len).map(|i| if i % 2 == 0 { 0.1 } else { 0.3 }).collect()
        }),
        // Images with a bright left edge: what is sampled there is no typical value.
        distribution("0 behind 255 every 32", false, |random, len| {
            let dark = random.normals(len, 0.0, 1.0).into_iter().enumerate();
            dark.map(|(i, value)| if i % 32 == 0 { 255.0 } else { value }).collect()
        }),
        distribution("0 behind 1e4 every 512", false, |random, len| {
            let dark = random.normals(len, 0.0, 1.0).into_iter().enumerate();
            dark.map(|(i, value)| if i % 512 == 0 { 1e4 } else { value }).collect()
        }),
        distribution("ascending", false, |random, len| {
            let mut values = random.normals(len, 0.0, 1.0);
            values.sort_by(f32::total_cmp);
            values
        }),
        distribution("constant 0.1", false, |_, len| vec![0.1; len]),
    ]
}

/// A long run, short ones, columns, and elements that lie alone.
fn forms() -> Vec<(&'static str, Shape, Placement)> {
    let contiguous = |name, shape: Shape| {
        let placement = Placement::contiguous(&shape);
        (name, shape, placement)
    };
    let apart = Shape::new([2050, 2, 1], 1);
    let transposed = Placement::sliced(&apart, &[0, 1, 2], &[(0, 1, 0), (0, 1, 3), (0, 1, 1)], 3);
    vec![
        contiguous("[1, 2, 2048]", Shape::new([1, 2, 2048], 1)),
        contiguous("[42, 2, 7, 7]", Shape::new([42, 2, 7, 7], 1)),
        contiguous("[1100, 3]", Shape::new([1100, 3], 1)),
        ("[2050, 2], strided", apart, transposed),
    ]
}

/// Greatest error in ULP of the scale, and greatest share of the bound.
struct Worst {
    ulp: f64,
    share: f64,
}

fn worst(kernel: &[f64], truth: &[f64], scale: &[f64], bound: &[f64]) -> Worst {
    let mut worst = Worst { ulp: 0.0, share: 0.0 };
    for i in 0..truth.len() {
        let error = (kernel[i] - truth[i]).abs();
        let error = if error.is_nan() { f64::INFINITY } else { error };
        if error > 0.0 {
            worst.ulp = worst.ulp.max(error / scale[i] / (2.0 * U));
            worst.share = worst.share.max(error / bound[i]);
        }
    }
    worst
}

struct Column {
    name: &'static str,
    worst: Worst,
    /// ULP allowed where roundings are independent: √L/2 for the variance, half of
    /// that for what is scaled by 1/σ, and half of one for each rounding.
    typical: f64,
}

/// √L/2 of the longest chain, 17.
const VARIANCE: f64 = 2.1;
/// x − c, a, their product, b and the sum.
const Y: f64 = 2.5 + VARIANCE / 2.0;
/// Three roundings of dy, three of x̂ and two sums; x̂·C/n is scaled three times.
const DX: f64 = 4.0 + 1.5 * VARIANCE;

/// Two standard deviations of a sum's error beside √n: L additions to partial sums that grow
/// as √k are off by √(L/2)/2 terms, which are of size 1.5 here.
const SUM: f64 = 5.0;

/// Checks every distribution in every form; `measure` gives the columns of a row.
fn report(
    title: &str,
    distributions: impl IntoIterator<Item = Distribution>,
    measure: impl Fn(&Distribution, &Shape, &Placement, &mut Random) -> Vec<Column>,
) {
    let mut failures = Vec::new();
    println!("{title}: ULP of the magnitude (share of the bound)");
    for distribution in distributions {
        for (form, shape, placement) in forms() {
            let columns = measure(&distribution, &shape, &placement, &mut Random(1));
            let mut row = format!("{:22} {form:20}", distribution.name);
            for Column { name, worst, .. } in &columns {
                row += &format!("  {name} {:7.2} ({:4.2})", worst.ulp, worst.share);
            }
            println!("{row}");
            let too_far = |Column { worst, typical, .. }: &Column| {
                worst.share > 1.0 || (distribution.random && worst.ulp > *typical)
            };
            if columns.iter().any(too_far) {
                failures.push(row);
            }
        }
    }
    assert!(failures.is_empty(), "out of bounds:\n{}", failures.join("\n"));
}

/// Values of every channel from the distribution, in the order of its elements.
fn fill(distribution: &Distribution, shape: &Shape, random: &mut Random) -> Vec<f32> {
    let channels = shape.channels();
    let count = shape.len() / channels.number;
    let mut values: Vec<_> =
        (0..channels.number).map(|_| (distribution.fill)(random, count).into_iter()).collect();
    channels.of.iter().map(|&channel| values[channel].next().expect("a value")).collect()
}

fn bounds(distribution: &Distribution, shape: &Shape, operands: &[&Placement]) -> Bounds {
    let layout = shape.layout(operands).expect("a layout");
    if distribution.random { Bounds::random(&layout) } else { Bounds::worst(&layout) }
}

fn parameters(distribution: &Distribution, shape: &Shape) -> Parameters {
    let channels = shape.channel_count();
    let gamma = (0..channels).map(|channel| 1.3 - channel as f32).collect();
    let beta = (0..channels).map(|channel| 0.7 * channel as f32).collect();
    Parameters { gamma: Some(gamma), beta: Some(beta), eps: distribution.eps }
}

#[test]
fn statistics_and_results_are_as_close_to_the_truth_as_rounding_allows() {
    report("forward", distributions(), |distribution, shape, placement, random| {
        let channels = shape.channels();
        let parameters = parameters(distribution, shape);
        let x = Tensor::new(shape, placement, &fill(distribution, shape, random));
        let y = Tensor::empty(shape, placement);
        let got = kernel::training(shape, [&x, &y], &parameters, &mut Workspace::new());

        let (x, parameters) = (x.wide(), parameters.naive(channels.number));
        let truth = naive::batch::statistics(&channels, &x);
        let bounds = bounds(distribution, shape, &[placement, placement]);
        let errors = bounds.statistics(&channels, &x, &truth);
        let x_hat = naive::batch::normalized(&channels, &x, parameters.eps);
        let magnitudes = channels.map(|i, c| {
            parameters.gamma[c].abs() * x_hat[i].abs().max(1.0) + parameters.beta[c].abs()
        });
        let std: Vec<_> = truth.variance.iter().map(|variance| variance.sqrt()).collect();
        // Where ε decides, less than this makes no difference to σ² + ε.
        let least = if parameters.eps >= 1e-12 { 1e-30 } else { 0.0 };
        let variances = truth.variance.iter().map(|variance| variance.max(least));
        let variances: Vec<_> = variances.collect();
        let variance_bound: Vec<_> = errors.variance.iter().map(|error| error.max(least)).collect();
        let y_truth = naive::batch::training(&channels, &x, &parameters);
        let y_bound = bounds.training(&channels, &x, &parameters);
        vec![
            Column {
                name: "mean/std",
                worst: worst(&got.mean, &truth.mean, &std, &errors.mean),
                typical: VARIANCE,
            },
            Column {
                name: "variance",
                worst: worst(&got.variance, &truth.variance, &variances, &variance_bound),
                typical: VARIANCE,
            },
            Column {
                name: "y",
                worst: worst(&y.wide(), &y_truth, &magnitudes, &y_bound),
                typical: Y,
            },
        ]
    });
}

fn gradients(title: &str, distributions: impl IntoIterator<Item = Distribution>, offset: f64) {
    report(title, distributions, |distribution, shape, placement, random| {
        let channels = shape.channels();
        let parameters = parameters(distribution, shape);
        let values = fill(distribution, shape, random);
        let x = Tensor::new(shape, placement, &values);
        let truth = naive::batch::statistics(&channels, &wide(&values));
        let x_hat = naive::batch::normalized(&channels, &wide(&values), parameters.eps);
        // Half of dy follows x̂: the covariance matters as much as dy itself.
        let dy = x_hat.iter().map(|x_hat| (random.normal() + x_hat + offset) as f32);
        let dy = Tensor::new(shape, placement, &dy.collect::<Vec<_>>());
        let [y, dx] = [(); 2].map(|()| Tensor::empty(shape, placement));
        let workspace = &mut Workspace::new();
        let statistics = kernel::training(shape, [&x, &y], &parameters, workspace);
        let got = kernel::backward(shape, [&x, &dy, &dx], &parameters, &statistics, workspace);

        let (x, dy, parameters) = (x.wide(), dy.wide(), parameters.naive(channels.number));
        let truth_dx = naive::batch::backward(&channels, &x, &dy, &parameters);
        let bounds = bounds(distribution, shape, &[placement; 3]);
        let Gradients { dx: dx_bound, gamma: gamma_bound, beta: beta_bound } =
            bounds.backward(&channels, &x, &dy, &parameters);
        let count = (x.len() / channels.number) as f64;
        let magnitudes = channels.map(|i, c| {
            let a = parameters.gamma[c].abs() * truth.inverse_std(c, parameters.eps);
            let slope = (truth_dx.gamma[c] / count).abs();
            a * ((dy[i] - truth_dx.beta[c] / count).abs().max(1.0) + x_hat[i].abs() * slope)
        });
        // What a sum of numbers of order 1 (or of the offset) has to be compared with.
        let sizes = |sums: &[f64]| -> Vec<_> {
            sums.iter().map(|sum| sum.abs().max(count.sqrt())).collect()
        };
        let (gamma, beta) = (wide(&got.gamma), wide(&got.beta));
        vec![
            Column {
                name: "dx",
                worst: worst(&dx.wide(), &truth_dx.dx, &magnitudes, &dx_bound),
                typical: DX,
            },
            Column {
                name: "dgamma",
                worst: worst(&gamma, &truth_dx.gamma, &sizes(&truth_dx.gamma), &gamma_bound),
                typical: SUM,
            },
            Column {
                name: "dbeta",
                worst: worst(&beta, &truth_dx.beta, &sizes(&truth_dx.beta), &beta_bound),
                typical: SUM,
            },
        ]
    });
}

#[test]
fn gradients_are_as_close_to_the_truth_as_rounding_allows() {
    gradients("backward", distributions(), 0.0);
}

#[test]
fn a_large_mean_of_dy_costs_no_digits() {
    // Those with a mean of their own.
    gradients("backward, mean of dy 1e4", distributions().into_iter().take(7), 1e4);
}
