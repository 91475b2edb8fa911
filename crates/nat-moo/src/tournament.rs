//! Choice of parents by binary tournament.

use crate::{Algorithm, Draws, Individual, TieBreak, crowding_distance, non_dominated_sort};

/// What decides a tournament: violation, front, room; each the smaller the better.
pub(crate) struct Fitness(Vec<(f64, usize, f64)>);

impl Fitness {
    /// Under NSGA-III only the violation counts.
    pub(crate) fn of(population: &[Individual], algorithm: &Algorithm) -> Self {
        let mut fitness: Vec<(f64, usize, f64)> = population
            .iter()
            .map(|individual| (individual.violation, 0, 0.0))
            .collect();
        if matches!(algorithm, Algorithm::Nsga2) {
            let feasible: Vec<usize> = (0..population.len())
                .filter(|&i| population[i].is_feasible())
                .collect();
            let rows: Vec<&Individual> = feasible.iter().map(|&i| &population[i]).collect();
            for (rank, front) in non_dominated_sort(&rows).into_iter().enumerate() {
                let members: Vec<&Individual> = front.iter().map(|&i| rows[i]).collect();
                for (&i, distance) in front.iter().zip(crowding_distance(&members)) {
                    fitness[feasible[i]].1 = rank;
                    fitness[feasible[i]].2 = -distance;
                }
            }
        }
        Self(fitness)
    }

    /// The winners of `n` binary tournaments. Opponents come from concatenated permutations, so that
    /// everybody takes part equally often; a coin decides among equals.
    pub(crate) fn tournaments(&self, n: usize, draws: &mut Draws) -> Vec<usize> {
        let mut entries = Vec::with_capacity(2 * n + self.0.len());
        while entries.len() < 2 * n {
            entries.extend(draws.permutation(self.0.len()));
        }
        entries
            .chunks_exact(2)
            .take(n)
            .map(|pair| {
                let (a, b) = (pair[0], pair[1]);
                if self.0[a] < self.0[b] {
                    a
                } else if self.0[b] < self.0[a] {
                    b
                } else {
                    pair[draws.below(2)]
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn individual(objectives: [f64; 2], violation: f64) -> Individual {
        Individual {
            genes: vec![0],
            objectives: objectives.to_vec(),
            violation,
        }
    }

    #[test]
    fn crowded_tournaments_prefer_fronts_then_room() {
        let f = [[0.0, 4.0], [1.0, 1.5], [1.5, 1.0], [4.0, 0.0], [5.0, 5.0]];
        let population = f.map(|objectives| individual(objectives, 0.0));
        let Fitness(fitness) = Fitness::of(&population, &Algorithm::Nsga2);
        assert!(
            fitness[0] < fitness[1] && fitness[3] < fitness[2],
            "ends have more room"
        );
        assert!(
            (0..4).all(|i| fitness[i] < fitness[4]),
            "the dominated one loses to all"
        );
    }

    #[test]
    fn a_front_is_one_of_feasible_individuals() {
        let population = [individual([2.0, 2.0], 0.0), individual([1.0, 1.0], 0.5)];
        let Fitness(fitness) = Fitness::of(&population, &Algorithm::Nsga2);
        assert_eq!(fitness[0].1, 0, "dominated, but by an infeasible one only");
        assert!(fitness[0] < fitness[1]);
    }

    #[test]
    fn everybody_takes_part_equally_often_and_coins_are_fair() {
        let fitness = Fitness(vec![(0.0, 0, 0.0); 10]);
        let mut wins = [0u32; 10];
        for winner in fitness.tournaments(50_000, &mut Draws::new(1)) {
            wins[winner] += 1;
        }
        // Everybody takes part in exactly 10,000; six standard deviations of the wins are 300.
        assert!(wins.iter().all(|w| w.abs_diff(5000) < 300), "{wins:?}");
    }

    #[test]
    fn the_smaller_violation_wins_under_both_algorithms() {
        let population = [0.0, 1.0, 2.0, 3.0].map(|violation| individual([0.0, 0.0], violation));
        for algorithm in [
            Algorithm::Nsga2,
            Algorithm::Nsga3 {
                directions: vec![vec![1.0, 1.0]],
            },
        ] {
            let winners = Fitness::of(&population, &algorithm).tournaments(400, &mut Draws::new(1));
            // Pairs are halves of a permutation of four, so nobody meets itself.
            assert!(winners.iter().all(|&winner| winner != 3));
            assert_eq!(winners.iter().filter(|&&winner| winner == 0).count(), 200);
        }
    }
}
