//! Properties of the walk over a shape, whatever its strides.

mod naive;
mod tensors;

use batchnorm_kernel::layout::{
    Band, Form, Layout, LayoutError, Limits, Lines, Operand, Order, PerOperand, Piece,
};
use proptest::prelude::*;
use tensors::random::for_all;
use tensors::{Case, Placement, Shape, cases, shapes};

/// Channel of an element and its place in every operand.
type Visit = (usize, PerOperand);

/// Every column's channels: there should be one.
fn owners(layout: &Layout) -> Vec<Vec<usize>> {
    let mut owners = vec![vec![]; layout.columns()];
    for channel in 0..layout.channels {
        let (first, side_by_side, period) = layout.columns_of(channel);
        for first in (first..layout.columns()).step_by(period) {
            (first..first + side_by_side).for_each(|column| owners[column].push(channel));
        }
    }
    owners
}

/// What a walk over a band visits, sorted.
fn visits(layout: &Layout, band: Band, order: Order) -> Vec<Visit> {
    visits_of(layout, band, layout.all_lines(), order)
}

/// What a walk over some lines of a band visits, sorted.
fn visits_of(layout: &Layout, band: Band, lines: Lines, order: Order) -> Vec<Visit> {
    let owners = owners(layout);
    let mut visits = Vec::new();
    layout.walk(&band, lines, order, &mut |piece| {
        for (plane, row) in (0..piece.planes).flat_map(|p| (0..piece.rows).map(move |r| (p, r))) {
            for lane in 0..piece.width {
                let column = if layout.form == Form::Runs { row } else { lane };
                let place = |k: usize| {
                    let row = plane * piece.plane_stride[k] + row * piece.stride[k];
                    piece.start[k] + row + lane
                };
                visits.push((owners[piece.column + column][0], [0, 1, 2].map(place)));
            }
        }
    });
    visits.sort_unstable();
    visits
}

/// What a walk over a band has to visit, sorted.
fn elements(shape: &Shape, operands: &[&Placement], band: Band) -> Vec<Visit> {
    let places: Vec<_> = operands.iter().map(|operand| operand.places(shape)).collect();
    // Operands that are not there follow the first.
    let place = |i: usize| [0, 1, 2].map(|k| places.get(k).unwrap_or(&places[0])[i]);
    let channels = shape.channels().of.into_iter().enumerate();
    let mut elements: Vec<_> = channels
        .filter(|(_, channel)| band.contains(channel))
        .map(|(i, channel)| (channel, place(i)))
        .collect();
    elements.sort_unstable();
    elements
}

fn pieces(layout: &Layout, order: Order) -> Vec<Piece> {
    let mut pieces = Vec::new();
    layout.walk(&(0..layout.channels), layout.all_lines(), order, &mut |piece| pieces.push(*piece));
    pieces
}

/// A case, and how many of its operands there are.
fn some_operands() -> impl Strategy<Value = (Case, usize)> {
    (cases(1..=9000), 1..=3usize)
}

fn layout_of(case: &Case, operands: usize) -> (Layout, Vec<&Placement>) {
    let operands: Vec<_> = case.operands.iter().take(operands).collect();
    (case.shape.layout(&operands).expect("a layout"), operands)
}

#[test]
fn a_walk_visits_every_element_once_in_its_channel() {
    for_all(200, some_operands(), |(case, operands)| {
        let (layout, operands) = layout_of(&case, operands);
        let all = 0..layout.channels;
        let elements = elements(&case.shape, &operands, all.clone());
        assert!(visits(&layout, all.clone(), Order::Forwards) == elements, "forwards");
        assert!(visits(&layout, all, Order::Backwards) == elements, "backwards");
    });
}

#[test]
fn walks_over_bands_visit_what_one_walk_does() {
    let ends = any::<[prop::sample::Index; 2]>();
    for_all(150, (some_operands(), ends), |((case, operands), ends)| {
        let (layout, operands) = layout_of(&case, operands);
        if layout.form == Form::Columns {
            assert_eq!(layout.bands(1).count(), 1, "columns can't be parted");
            return;
        }
        let mut ends = ends.map(|end| end.index(layout.channels + 1));
        ends.sort_unstable();
        let band = ends[0]..ends[1];
        let elements = elements(&case.shape, &operands, band.clone());
        assert!(visits(&layout, band, Order::Forwards) == elements);
    });
}

#[test]
fn bands_follow_each_other_over_all_channels_from_multiples_of_four_on() {
    for_all(150, (some_operands(), 0..=3usize), |((case, operands), inputs)| {
        let (mut layout, _) = layout_of(&case, operands);
        for limit in [layout.limits.band, 1000, 1] {
            layout.limits = Limits { band: limit, slice: 1, ..layout.limits };
            let mut next = 0;
            for band in layout.bands(inputs) {
                let elements = band.len() * layout.count * inputs;
                assert!(band.start == next && band.start < band.end, "{band:?}");
                assert!(band.start.is_multiple_of(4), "{band:?}");
                let parted = layout.form == Form::Runs && band.len() > 4;
                // One image is not divided up to eight slices.
                let most = limit.max(8 * layout.limits.slice) + 3 * layout.count * inputs;
                assert!(!parted || elements <= most, "{band:?}");
                next = band.end;
            }
            assert_eq!(next, layout.channels);
        }
    });
}

#[test]
fn pieces_come_as_they_lie_in_memory_and_backwards_the_other_way_round() {
    for_all(150, shapes(1..=9000), |shape| {
        let placement = Placement::contiguous(&shape);
        let layout = shape.layout(&[&placement]).expect("a layout");
        let starts = |order| -> Vec<_> {
            pieces(&layout, order).iter().map(|piece| piece.start[0]).collect()
        };
        // Long runs come part by part: a channel's second one after the others' first ones.
        let images = shape.sizes[..shape.axis].iter().product::<u32>() as usize;
        let parted = layout.form == Form::Runs && layout.all_lines().len() > images;
        assert!(parted || starts(Order::Forwards).is_sorted());
        assert!(parted || starts(Order::Backwards).iter().rev().is_sorted());
    });
}

#[test]
fn blocks_follow_each_other_over_all_lines_whatever_else_is_done_with_them() {
    for_all(150, some_operands(), |(case, operands)| {
        let (layout, _) = layout_of(&case, operands);
        let mut next = 0;
        for lines in layout.blocks() {
            assert!(lines.start == next && lines.start < lines.end, "{lines:?}");
            next = lines.end;
        }
        assert_eq!(next, layout.all_lines().end);
        let all = 0..layout.channels;
        let whole = visits(&layout, all.clone(), Order::Forwards);
        let mut parts = Vec::new();
        for lines in layout.blocks() {
            parts.extend(visits_of(&layout, all.clone(), lines, Order::Forwards));
        }
        parts.sort_unstable();
        assert!(parts == whole);
    });
}

#[test]
fn no_piece_is_empty_and_none_of_columns_is_wider_than_a_row() {
    for_all(150, some_operands(), |(case, operands)| {
        let (layout, _) = layout_of(&case, operands);
        for piece in pieces(&layout, Order::Forwards) {
            assert!(piece.planes > 0 && piece.rows > 0 && piece.width > 0, "{piece:?}");
            let columns = if layout.form == Form::Runs { piece.rows } else { piece.width };
            assert!(piece.column + columns <= layout.columns(), "{piece:?}");
        }
    });
}

#[test]
fn every_column_belongs_to_one_channel_and_does_not_stand_before_its_place() {
    for_all(150, some_operands(), |(case, operands)| {
        let (layout, _) = layout_of(&case, operands);
        for (column, owners) in owners(&layout).iter().enumerate() {
            assert!(owners.len() == 1 && owners[0] <= column, "{column} is {owners:?}'s");
        }
    });
}

#[test]
fn channels_first_is_walked_as_runs_and_channels_last_as_columns() {
    for (shape, form) in [
        (Shape::new([2, 3, 8, 8], 1), Form::Runs),
        (Shape::new([2, 8, 8, 3], 3), Form::Columns),
        (Shape::new([5, 7], 1), Form::Columns),
        // Too short for a run.
        (Shape::new([2, 3, 3, 5], 1), Form::Columns),
        // One channel is one run.
        (Shape::new([2, 1, 3, 5], 1), Form::Runs),
    ] {
        let layout = shape.layout(&[&Placement::contiguous(&shape)]).expect("a layout");
        assert_eq!(layout.form, form, "{shape:?}");
    }
}

#[test]
fn many_rows_of_few_channels_are_joined() {
    // What `joined` of these tests relies on.
    for (rows, channels, columns) in [(2048, 2, 16), (4096, 3, 48), (1024, 4, 16), (512, 8, 16)] {
        let shape = Shape::new([rows + 1, channels], 1);
        let layout = shape.layout(&[&Placement::contiguous(&shape)]).expect("a layout");
        assert_eq!(layout.columns(), columns, "{shape:?}");
    }
}

#[test]
fn a_walk_over_nothing_visits_nothing() {
    for sizes in [[0, 3, 4], [2, 0, 4], [2, 3, 0]] {
        for axis in 0..3 {
            let layout = Layout::new(&sizes, axis, &[Operand { strides: &[12, 4, 1], extent: 0 }]);
            let layout = layout.expect("a layout");
            assert_eq!((layout.channels, layout.count), (sizes[axis] as usize, 0));
            assert_eq!(visits(&layout, 0..layout.channels, Order::Forwards), []);
        }
    }
}

#[test]
fn an_empty_shape_is_accepted_in_whichever_order_its_sizes_come() {
    const HUGE: u32 = u32::MAX;
    let mut many = [HUGE; 40];
    many[39] = 0;
    for sizes in [&[0, HUGE, HUGE, HUGE][..], &[HUGE, HUGE, HUGE, 0], &many] {
        let strides = &vec![0; sizes.len()];
        let layout = Layout::new(sizes, 0, &[Operand { strides, extent: 0 }]);
        assert_eq!(layout.map(|layout| layout.count), Ok(0), "{sizes:?}");
    }
}

#[test]
fn a_wrong_number_of_axes_strides_or_operands_is_refused() {
    let operand = |strides| Operand { strides, extent: 100 };
    let good = operand(&[3, 1]);
    for (sizes, axis, operands) in [
        (&[2, 3][..], 2, &[good][..]),
        (&[], 0, &[operand(&[])]),
        (&[2, 3], 0, &[operand(&[1])]),
        (&[2, 3], 0, &[good, operand(&[3, 1, 1])]),
        (&[2, 3], 0, &[]),
        (&[2, 3], 0, &[good; 4]),
    ] {
        assert_eq!(Layout::new(sizes, axis, operands).err(), Some(LayoutError::Rank));
    }
}

#[test]
fn more_elements_than_the_address_space_holds_are_refused() {
    for sizes in [&[u32::MAX; 2][..], &[u32::MAX; 40], &[1 << 31, 1 << 30, 2]] {
        let operand = Operand { strides: &vec![0; sizes.len()], extent: usize::MAX };
        assert_eq!(Layout::new(sizes, 0, &[operand]).err(), Some(LayoutError::TooLarge));
    }
}

#[test]
fn a_shape_of_forty_dimensions_does_not_panic() {
    // Elements that overlap, so that nothing can be joined and little memory is enough.
    let operand = Operand { strides: &[1; 40], extent: 41 };
    let layout = Layout::new(&[2; 40], 0, &[operand]);
    assert_eq!(layout.map(|layout| layout.count), Ok(1 << 39));
}

#[test]
fn memory_that_is_one_element_short_is_refused() {
    for_all(100, cases(1..=500), |case| {
        let shape = &case.shape;
        for short in 0..3 {
            let mut operands = case.operands.each_ref().map(|placement| placement.operand(shape));
            assert!(Layout::new(&shape.sizes, shape.axis, &operands).is_ok());
            operands[short].extent -= 1;
            let refused = Layout::new(&shape.sizes, shape.axis, &operands).err();
            assert_eq!(refused, Some(LayoutError::OutOfBounds));
        }
    });
}

#[test]
fn strides_that_overflow_are_refused() {
    let operand = Operand { strides: &[u32::MAX; 3], extent: usize::MAX / 4 };
    let layout = Layout::new(&[1 << 30, 1 << 30, 1], 0, &[operand]);
    assert_eq!(layout.err(), Some(LayoutError::OutOfBounds));
}
