//! What of a frame goes to whom, and in which order ([ADR 0026](../../../docs/adr/0026-one-scheduler.md)); pure.

use crate::allowance::SMALLEST;

/// Changes of no more cells that may answer input go out even where the way is full.
const FEW_CELLS: usize = 4;

/// Brings layers into the order in which they are encoded: those of which fewer cells have `changed`
/// first, so that a key's answer does not wait for a photograph.
pub fn in_turn<T>(layers: &mut [T], changed: impl Fn(&T) -> usize) {
    layers.sort_by_key(changed);
}

/// Bytes up to which a frame may go on growing by a layer of so many `changed` cells. `allowance` is
/// nothing where the way is full.
pub fn of_layer(allowance: Option<u64>, changed: usize, may_answer_input: bool) -> u64 {
    let is_urgent = may_answer_input && changed <= FEW_CELLS;
    allowance.unwrap_or(if is_urgent { SMALLEST } else { 0 })
}

/// Bytes for films in a frame of which layers have `taken` so many: what is left, but a piece of each
/// frame, however much else there is.
pub fn of_films(allowance: Option<u64>, taken: u64) -> u64 {
    allowance.map_or(0, |bytes| bytes.saturating_sub(taken).max(SMALLEST))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn full_way_takes_answers_to_input_and_no_film() {
        assert_eq!(of_layer(None, FEW_CELLS, true), SMALLEST);
        assert_eq!(of_layer(None, FEW_CELLS + 1, true), 0);
        assert_eq!(of_layer(None, 1, false), 0);
        assert_eq!(of_films(None, 0), 0);
    }

    proptest! {
        #[test]
        fn layers_go_in_the_order_of_how_much_of_them_has_changed(
            changed in prop::collection::vec(0usize..6, 0..12),
        ) {
            let mut turns: Vec<_> = (0..).zip(changed.iter().copied()).collect();
            turns.reverse();
            in_turn(&mut turns, |layer: &(usize, usize)| layer.1);
            prop_assert!(turns.is_sorted_by_key(|layer| layer.1));
            turns.sort_unstable();
            prop_assert_eq!(turns, (0..).zip(changed).collect::<Vec<_>>());
        }

        #[test]
        fn films_get_what_layers_leave_but_a_piece_of_each_frame(
            allowance in SMALLEST..1 << 21,
            taken in 0u64..1 << 22,
        ) {
            let room = of_films(Some(allowance), taken);
            prop_assert!(room >= 2 << 10);
            prop_assert!(room + taken >= allowance, "none of it is lost");
            prop_assert!(room == 2 << 10 || room + taken == allowance, "no more than is left");
        }

        #[test]
        fn where_there_is_room_all_layers_may_have_it(
            allowance in any::<u64>(),
            changed in any::<usize>(),
            may_answer_input in any::<bool>(),
        ) {
            prop_assert_eq!(of_layer(Some(allowance), changed, may_answer_input), allowance);
        }
    }
}
