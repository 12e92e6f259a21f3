//! The tree of what guests were answered: each branch that showed something new is a node, and
//! where it asked for a random value after what it was told to begin with, another answer makes
//! a new branch.
//!
//! A branch varies only calls that come after the last one settled in it. Those before are its
//! parent's to vary, so no branch is planned twice.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{ChoicePoint, Input};
use crate::explore::Recipe;
use crate::explore::corpus::{Energy, weighted};
use crate::fault::Stream;

/// The most branches that are kept.
const LIMIT: usize = 256;
/// The most answers that are tried at one call of a branch, and at one of `get_random`.
const TRIES: u64 = 256;
const RANDOM_TRIES: u64 = 8;
/// Random numbers that programs trip over more often than over others.
const TELLING: [u64; 4] = [0, u64::MAX, 1, 1 << 63];
/// Calls next to what is settled, which are as likely to be varied as all that follow.
const NEXT: usize = 8;

/// A branch.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Node {
    id: u64,
    recipe: Recipe,
    /// When the calls that `recipe` settles were made, in ns after setup.
    settled_ns: Vec<u64>,
    /// The calls after those, in order.
    points: Vec<ChoicePoint>,
    /// Answers given to a point, the branch's own included.
    tried: BTreeMap<usize, BTreeSet<u64>>,
    /// Answers that are left to be tried.
    left: u64,
    energy: Energy,
}

/// A branch that varies another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Variation {
    /// The node it varies.
    pub node: u64,
    /// What to run.
    pub recipe: Recipe,
    /// When the calls that `recipe` settles are made, in ns after setup. The last is the one
    /// that is answered otherwise.
    pub settled_ns: Vec<u64>,
}

/// Branches whose calls can be answered otherwise.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct InputTree {
    nodes: Vec<Node>,
    next_id: u64,
}

impl InputTree {
    /// Adds a branch that showed `novelty` new things and made the calls `points`, in order. Of
    /// too many branches, the least deserving leaves.
    pub fn add(&mut self, recipe: &Recipe, points: &[ChoicePoint], novelty: u64) {
        let settled = |point: &ChoicePoint| recipe.inputs.contains(&point.input);
        let forked_ns = recipe.reseeds.last().map_or(0, |reseed| reseed.at_ns);
        let own = points.iter().rposition(settled).map_or(0, |last| last + 1);
        let (past, points) = points.split_at(own);
        let (inputs, settled_ns) = past
            .iter()
            .filter(|point| settled(point))
            .map(|point| (point.input, point.at_ns))
            .unzip();
        let later = points.iter().filter(|point| point.at_ns >= forked_ns);
        let points: Vec<ChoicePoint> = later.copied().collect();
        let left = points.iter().map(tries).sum();
        if left == 0 {
            return;
        }
        self.nodes.push(Node {
            id: self.next_id,
            recipe: Recipe {
                inputs,
                ..recipe.clone()
            },
            settled_ns,
            points,
            tried: BTreeMap::new(),
            left,
            energy: Energy::new(novelty),
        });
        self.next_id += 1;
        if self.nodes.len() > LIMIT {
            let weakest = (0..LIMIT)
                .min_by_key(|&i| self.nodes[i].weight())
                .unwrap_or(0);
            self.nodes.remove(weakest);
        }
    }

    /// Picks a branch by its energy, and answers one of its calls as it never was there.
    pub(super) fn vary(&mut self, stream: &mut Stream) -> Option<Variation> {
        if self.nodes.iter().all(|node| node.left == 0) {
            return None;
        }
        let i = weighted(self.nodes.iter().map(Node::weight), stream)?;
        Some(self.nodes[i].vary(stream))
    }

    /// A variation of node `id` showed something new.
    pub(in crate::explore) fn reward(&mut self, id: u64) {
        if let Some(node) = self.nodes.iter_mut().find(|node| node.id == id) {
            node.energy.reward();
        }
    }
}

/// How many answers besides its own are tried at a call.
fn tries(point: &ChoicePoint) -> u64 {
    match point.input.options {
        0 => RANDOM_TRIES,
        options => (options - 1).min(TRIES),
    }
}

impl Node {
    /// Its share of picks; none if nothing is left to be tried.
    fn weight(&self) -> u64 {
        match self.left {
            0 => 0,
            _ => self.energy.weight(1),
        }
    }

    /// The branch with another answer; something has to be left.
    fn vary(&mut self, stream: &mut Stream) -> Variation {
        self.energy.pick();
        self.left -= 1;
        let open = |i: &usize| {
            let tried = self.tried.get(i).map_or(0, |tried| tried.len() as u64 - 1);
            tried < tries(&self.points[*i])
        };
        let open: Vec<usize> = (0..self.points.len()).filter(open).collect();
        // What follows a choice that mattered is likely to build on it.
        let near = stream.chance(1, 2);
        let among = if near {
            NEXT.min(open.len())
        } else {
            open.len()
        };
        let i = open[stream.index(among)];
        let point = self.points[i];
        let own = BTreeSet::from([point.input.answer]);
        let tried = self.tried.entry(i).or_insert(own);
        let answer = untried(point.input.options, tried, stream);
        tried.insert(answer);
        let mut recipe = self.recipe.clone();
        recipe.inputs.push(Input {
            answer,
            ..point.input
        });
        let mut settled_ns = self.settled_ns.clone();
        settled_ns.push(point.at_ns);
        Variation {
            node: self.id,
            recipe,
            settled_ns,
        }
    }
}

/// An answer that is none of `tried`, of which there are less than `options`.
fn untried(options: u64, tried: &BTreeSet<u64>, stream: &mut Stream) -> u64 {
    let mut answer = match options {
        0 => match TELLING.iter().find(|value| !tried.contains(value)) {
            Some(value) => *value,
            None => stream.bits(),
        },
        _ => stream.below(options),
    };
    while tried.contains(&answer) {
        answer = match options {
            0 => answer.wrapping_add(1),
            _ => (answer + 1) % options,
        };
    }
    answer
}
