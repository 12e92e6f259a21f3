//! Worker threads that run branches side by side.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::runner::{Batch, BranchResult, Job, Runner, RunnerError, RunnerFactory};

type Ran<S> = Result<Result<BranchResult<S>, RunnerError>, Box<dyn Any + Send>>;
type Queue<S> = Mutex<Receiver<(usize, Job<S>)>>;
/// A job, or `None` for one that was stopped.
type Answer<S> = (usize, Option<Ran<S>>);

/// A pool of worker threads, each with a runner of its own. Dropping it ends them.
pub struct Workers<S> {
    jobs: Option<Sender<(usize, Job<S>)>>,
    answers: Receiver<Answer<S>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
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
        for job in jobs.into_iter().enumerate() {
            self.jobs
                .as_ref()
                .ok_or_else(gone)?
                .send(job)
                .map_err(|_| gone())?;
        }
        let pause = std::time::Duration::from_millis(20);
        let mut open = count;
        while open > 0 {
            // The caller's flag is watched while branches run, so that none begins after it is set.
            self.stop
                .store(stop.load(Ordering::Relaxed), Ordering::Relaxed);
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
            // A worker catches what its runner throws; there is nothing left to learn from it.
            let _ = thread.join();
        }
    }
}
