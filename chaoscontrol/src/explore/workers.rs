//! Worker threads that run branches side by side.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::runner::{Batch, BranchResult, Job, Runner, RunnerError, RunnerFactory};

type Ran<S> = Result<Result<BranchResult<S>, RunnerError>, Box<dyn Any + Send>>;
type Queue<S> = Mutex<Receiver<(usize, Job<S>)>>;
/// A job, or `None` for one that was stopped.
type Answer<S> = (usize, Option<Ran<S>>);

/// How long branches may still run when somebody has asked to stop. A guest can make its
/// host busy for as long as it likes, with instructions that take next to no virtual time.
const GRACE: Duration = Duration::from_secs(5);

/// A pool of worker threads, each with a runner of its own. Dropping it ends them, but for
/// those whose branch does not end in time after a stop: these are left to themselves.
pub struct Workers<S> {
    jobs: Option<Sender<(usize, Job<S>)>>,
    answers: Receiver<Answer<S>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    grace: Duration,
    /// Some branch did not end in time.
    abandoned: bool,
}

impl<S: Clone + Send + 'static> Workers<S> {
    /// Starts `count` workers (at least one).
    ///
    /// # Errors
    /// A runner or a thread that cannot be made.
    pub fn new<F>(factory: &F, count: usize) -> Result<Self, RunnerError>
    where
        F: RunnerFactory + ?Sized,
        F::Runner: Runner<Snapshot = S>,
    {
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let (results, answers) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = Workers {
            jobs: Some(jobs),
            answers,
            stop,
            threads: Vec::new(),
            grace: GRACE,
            abandoned: false,
        };
        for i in 0..count.max(1) {
            let runner = factory.create()?;
            let (queue, results, stop) = (queue.clone(), results.clone(), workers.stop.clone());
            let thread = std::thread::Builder::new()
                .name(format!("chaos-worker-{i}"))
                .spawn(move || work(runner, &queue, &results, &stop))
                .map_err(|e| RunnerError(format!("a worker thread does not start: {e}")))?;
            workers.threads.push(thread);
        }
        Ok(workers)
    }
}

impl<S> Workers<S> {
    /// The threads.
    pub fn threads(&self) -> &[JoinHandle<()>] {
        &self.threads
    }
}

fn work<R: Runner>(
    mut runner: R,
    queue: &Queue<R::Snapshot>,
    results: &Sender<Answer<R::Snapshot>>,
    stop: &AtomicBool,
) {
    loop {
        let next = match queue.lock() {
            Ok(queue) => queue.recv(),
            Err(_) => return,
        };
        let Ok((index, job)) = next else { return };
        let stopped = stop.load(Ordering::Relaxed);
        let ran = (!stopped).then(|| catch_unwind(AssertUnwindSafe(|| runner.run(&job))));
        drop(job);
        if results.send((index, ran)).is_err() {
            return;
        }
    }
}

impl<S: Clone + Send + 'static> Batch<S> for Workers<S> {
    fn run(
        &mut self,
        jobs: Vec<Job<S>>,
        stop: &AtomicBool,
    ) -> Result<Vec<Option<BranchResult<S>>>, RunnerError> {
        let count = jobs.len();
        let mut results: Vec<Option<Ran<S>>> = Vec::new();
        results.resize_with(count, || None);
        let gone = || RunnerError("the workers are gone".to_owned());
        self.stop
            .store(stop.load(Ordering::Relaxed), Ordering::Relaxed);
        if self.abandoned {
            // Late answers would belong to other jobs.
            return Ok(jobs.iter().map(|_| None).collect());
        }
        for job in jobs.into_iter().enumerate() {
            self.jobs
                .as_ref()
                .ok_or_else(gone)?
                .send(job)
                .map_err(|_| gone())?;
        }
        let pause = Duration::from_millis(20);
        let mut open = count;
        let mut patience = None;
        while open > 0 {
            // The caller's flag is watched while branches run, so that none begins after it is set.
            if stop.load(Ordering::Relaxed) {
                self.stop.store(true, Ordering::Relaxed);
                let since = *patience.get_or_insert_with(Instant::now);
                if since.elapsed() > self.grace {
                    self.abandoned = true;
                    break;
                }
            }
            match self.answers.recv_timeout(pause) {
                Ok((index, ran)) => {
                    results[index] = ran;
                    open -= 1;
                }
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                Err(_) => return Err(gone()),
            }
        }
        results
            .into_iter()
            .map(|ran| {
                ran.map(|r| r.unwrap_or_else(|payload| resume_unwind(payload)))
                    .transpose()
            })
            .collect()
    }
}

impl<S> Drop for Workers<S> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.jobs = None;
        for thread in self.threads.drain(..) {
            if self.abandoned && !thread.is_finished() {
                continue;
            }
            // A worker catches what its runner throws; there is nothing left to learn from it.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::Recipe;

    /// Branches that end when they may.
    struct Stuck(Arc<AtomicBool>);

    impl Runner for Stuck {
        type Snapshot = ();

        fn run(&mut self, _: &Job<()>) -> Result<BranchResult<()>, RunnerError> {
            while !self.0.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(RunnerError("over".into()))
        }
    }

    impl RunnerFactory for Stuck {
        type Runner = Stuck;

        fn create(&self) -> Result<Stuck, RunnerError> {
            Ok(Stuck(Arc::clone(&self.0)))
        }
    }

    #[test]
    fn a_branch_that_does_not_end_is_left_to_itself_after_a_stop() {
        let may_end = Arc::new(AtomicBool::new(false));
        let mut workers = Workers::new(&Stuck(Arc::clone(&may_end)), 2).unwrap();
        workers.grace = Duration::from_millis(50);
        let job = |_| Job::new(Recipe::default());
        let jobs = || (0..3).map(job).collect();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(50));
                stop.store(true, Ordering::Relaxed);
            });
            let results = workers.run(jobs(), &stop).unwrap();
            assert_eq!(results.iter().flatten().count(), 0);
        });
        // Whoever runs more all the same gets nothing, and no answer of another batch.
        may_end.store(true, Ordering::Relaxed);
        let again = workers.run(jobs(), &AtomicBool::new(false)).unwrap();
        assert_eq!(again.iter().flatten().count(), 0);
    }
}
