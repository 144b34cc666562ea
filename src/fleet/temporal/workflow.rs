//! The workflows: which task is due. They hold names only, and are replayed by any worker that takes a job over.
//!
//! Replay compares a task's id and not what it is given; so ids say kind, level, index and a hash of the inputs, and a change of the tree's
//! shape in the middle of a job is an error rather than a wrong tree.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use temporalio_client::Priority;
use temporalio_common::{
    error::{ApplicationFailure, IncomingError, TimeoutType},
    RetryPolicy,
};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::{
    ActivityExecutionError, ActivityOptions, ChildWorkflowOptions, WorkflowContext, WorkflowContextView,
    WorkflowResult, WorkflowTermination,
};

use super::{
    activities::{Activities, APART_ERROR, INPUT_ERROR},
    groups::{queue, Item, Outline},
};
use crate::fleet::blobs::BlobName;

/// Where workflows and their small activities are done; every worker looks into it.
pub(super) const JOBS: &str = "jobs";

/// A worker that has not been heard of for so long is taken for dead.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// The longest that one attempt may take; the heartbeat finds out long before.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// How the server calls a worker's death among the errors that a policy names.
const DEATH: &str = "TemporalTimeout:Heartbeat";
/// How often a task is tried on devices that fail or with workers that die, and how often its result may be refused.
const ATTEMPTS: u32 = 100;
pub(super) const ROUNDS: u32 = 20;

/// What a job's workflow is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobInput {
    pub manifest: BlobName,
}

/// What a group's workflow is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GroupInput {
    pub manifest: BlobName,
    pub group: usize,
    pub round: u32,
}

/// What a worker is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TaskInput {
    pub manifest: BlobName,
    /// The task's id.
    pub task: String,
    /// The proofs of its children, in order.
    pub inputs: Vec<BlobName>,
    /// How often a result of it was refused.
    pub round: u32,
    /// Who made those.
    pub refused: Vec<String>,
}

/// A result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Done {
    /// The proof, or a list of such where nothing is aggregated.
    pub proof: BlobName,
    /// Who made it.
    pub worker: String,
}

/// What a job's workflow ends with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The job's manifest.
    pub manifest: BlobName,
    /// The proof; a list of the segments' proofs (JSON), in order, where nothing is aggregated.
    pub proof: BlobName,
}

/// How far a job or one of its groups is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Tasks that it has, those of its groups not counted; 0 until that is known.
    pub tasks: usize,
    /// How many of them are done.
    pub done: usize,
    /// How many of those are segments.
    pub segments: usize,
    /// Results that were refused.
    pub refused: usize,
    /// Tasks done, by worker.
    pub workers: BTreeMap<String, usize>,
    /// Ids of the workflows of groups that have begun.
    pub groups: Vec<String>,
}

trait HasProgress: 'static {
    fn counts(&mut self) -> &mut Progress;
}

type Failed = Box<WorkflowTermination>;
type Pending<T> = Pin<Box<dyn Future<Output = T>>>;

/// All results, or the first failure as soon as there is one. Polls in order, so that a replay goes the same way.
struct TryAll<T> {
    pending: Vec<Option<Pending<Result<T, Failed>>>>,
    results: Vec<Option<T>>,
}

fn try_all<T: Unpin>(futures: impl IntoIterator<Item = Pending<Result<T, Failed>>>) -> TryAll<T> {
    let pending: Vec<_> = futures.into_iter().map(Some).collect();
    TryAll { results: pending.iter().map(|_| None).collect(), pending }
}

impl<T: Unpin> Future for TryAll<T> {
    type Output = Result<Vec<T>, Failed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        for (place, result) in this.pending.iter_mut().zip(&mut this.results) {
            let Some(future) = place else { continue };
            if let Poll::Ready(ended) = future.as_mut().poll(context) {
                *place = None;
                match ended {
                    Ok(value) => *result = Some(value),
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
        }
        match this.results.iter().all(Option::is_some) {
            true => Poll::Ready(Ok(this.results.iter_mut().filter_map(Option::take).collect())),
            false => Poll::Pending,
        }
    }
}

fn permanent(reason: String) -> Failed {
    let failure = ApplicationFailure::builder(reason).type_name("job".into()).non_retryable(true).build();
    Box::new(failure.into())
}

/// Options of what every worker can do in a moment.
fn small(id: &str) -> ActivityOptions {
    ActivityOptions::with_start_to_close_timeout(Duration::from_secs(300))
        .activity_id(id)
        .retry_policy(RetryPolicy::builder().initial_interval(Duration::from_millis(100)).maximum_attempts(20).build())
        .heartbeat_timeout(Duration::from_secs(30))
        .do_not_eagerly_execute(true)
        .build()
}

/// `urgent` ones go before those that wait.
fn task_options(item: &Item, round: u32, urgent: bool) -> ActivityOptions {
    let id = if round == 0 { item.id.clone() } else { format!("{}#{round}", item.id) };
    let policy = RetryPolicy::builder()
        .initial_interval(Duration::from_millis(100))
        .maximum_interval(Duration::from_secs(10))
        .maximum_attempts(ATTEMPTS)
        .non_retryable_error_types([DEATH])
        .build();
    // what is near to the root goes first, so that jobs end
    let mut priority = Priority::default();
    priority.priority_key = Some(4_u32.saturating_sub(item.level + u32::from(urgent)).max(1));
    ActivityOptions::with_start_to_close_timeout(LONGEST)
        .activity_id(id)
        .task_queue(queue(item.class))
        .heartbeat_timeout(HEARTBEAT)
        .retry_policy(policy)
        .priority(priority)
        .do_not_eagerly_execute(true)
        .build()
}

/// Whether the worker died.
fn is_death(error: &ActivityExecutionError) -> bool {
    error.as_timeout().is_some_and(|timeout| timeout.timeout_type() == TimeoutType::Heartbeat)
}

/// Which child a worker could not accept, if that is why it failed. Of two that do not fit each other, the later one is made again first, and
/// then the earlier one: `times` says how often these two did not.
fn refused_input(error: &ActivityExecutionError, times: &mut BTreeMap<usize, usize>) -> Option<usize> {
    let IncomingError::Application(failure) = error.reason()? else { return None };
    let kind = failure.type_name()?;
    if let Some(child) = kind.strip_prefix(INPUT_ERROR) {
        return child.parse().ok();
    }
    let at: usize = kind.strip_prefix(APART_ERROR)?.parse().ok()?;
    let times = times.entry(at).or_default();
    *times += 1;
    at.checked_sub((*times + 1) % 2)
}

/// Tasks of one workflow.
struct Tasks<W> {
    context: WorkflowContext<W>,
    manifest: BlobName,
    items: Vec<Item>,
    /// How many children are other workflows: numbers below it are groups, at the top.
    groups: usize,
}

impl<W: HasProgress> Tasks<W> {
    fn start(self: Rc<Self>, child: usize, round: u32, refused: Vec<String>) -> Pending<Result<Done, Failed>> {
        match child.checked_sub(self.groups) {
            Some(number) => Box::pin(async move { self.node(number, round, refused).await }),
            None => Box::pin(async move { self.group(child, round).await }),
        }
    }

    /// A task, as soon as its children are there. A child that does not count is made again, elsewhere.
    async fn node(self: Rc<Self>, number: usize, round: u32, refused: Vec<String>) -> Result<Done, Failed> {
        let item = &self.items[number];
        let start = |child: &usize| self.clone().start(*child, round, vec![]);
        let mut children = try_all(item.children.iter().map(start)).await?;
        let mut apart = BTreeMap::new();
        for again in 0..ROUNDS {
            let inputs = children.iter().map(|child| child.proof).collect();
            let round = round + again;
            let (task, refused) = (item.id.clone(), refused.clone());
            let input = TaskInput { manifest: self.manifest, task, inputs, round, refused };
            let error = match self.proved(item, input).await {
                Ok(done) => {
                    self.context.state_mut(|state| state.counts().count(item, &done));
                    return Ok(done);
                }
                Err(error) => error,
            };
            let Some(child) = refused_input(&error, &mut apart).filter(|child| *child < children.len()) else {
                return Err(Box::new(error.into()));
            };
            self.context.state_mut(|state| state.counts().refused += 1);
            let maker = children[child].worker.clone();
            children[child] = self.clone().start(item.children[child], round + 1, vec![maker]).await?;
        }
        Err(permanent(format!("{}: its inputs were refused {ROUNDS} times", item.id)))
    }

    /// A task's result, whose workers may die. The server would put what it tries again behind all that waits, so that this does.
    async fn proved(&self, item: &Item, input: TaskInput) -> Result<Done, ActivityExecutionError> {
        let mut deaths = 0;
        loop {
            let options = task_options(item, input.round, deaths > 0);
            match self.context.execute_activity(Activities::prove, input.clone(), options).await {
                Err(error) if is_death(&error) && deaths < ATTEMPTS => deaths += 1,
                ended => return ended,
            }
        }
    }

    /// The workflow of a group.
    async fn group(self: Rc<Self>, group: usize, round: u32) -> Result<Done, Failed> {
        let id = format!("{}/{group}/{round}", self.context.workflow_id());
        self.context.state_mut(|state| state.counts().groups.push(id.clone()));
        let input = GroupInput { manifest: self.manifest, group, round };
        let options = ChildWorkflowOptions::workflow_id(id);
        let child = self.context.start_child_workflow(ProveGroup::run, input, options).await;
        let child = child.map_err(|error| Box::new(WorkflowTermination::from(error)))?;
        child.result().await.map_err(|error| Box::new(error.into()))
    }
}

impl Progress {
    fn count(&mut self, item: &Item, done: &Done) {
        self.done += 1;
        self.segments += usize::from(item.level == 0);
        *self.workers.entry(done.worker.clone()).or_default() += 1;
    }
}

/// A group of tasks.
#[workflow]
#[derive(Default)]
pub struct ProveGroup {
    progress: Progress,
}

impl HasProgress for ProveGroup {
    fn counts(&mut self) -> &mut Progress {
        &mut self.progress
    }
}

#[workflow_methods]
impl ProveGroup {
    #[run]
    pub async fn run(ctx: &mut WorkflowContext<Self>, input: GroupInput) -> WorkflowResult<Done> {
        let GroupInput { manifest, round, .. } = input;
        let id = format!("group/{}", input.group);
        let items: Vec<Item> = ctx.execute_activity(Activities::group, input, small(&id)).await?;
        ctx.state_mut(|state| state.progress.tasks = items.len());
        let is_tree = items.last().is_some_and(|item| item.level > 0);
        let last = items.len().saturating_sub(1);
        let tasks = Rc::new(Tasks { context: ctx.clone(), manifest, items, groups: 0 });
        if is_tree {
            return tasks.start(last, round, vec![]).await.map_err(|error| *error);
        }
        let all = try_all((0..=last).map(|number| tasks.clone().start(number, round, vec![])));
        let proofs = all.await.map_err(|error| *error)?.into_iter().map(|done| done.proof).collect::<Vec<_>>();
        Ok(ctx.execute_activity(Activities::list, proofs, small("list")).await?)
    }

    #[query]
    pub fn progress(&self, _ctx: &WorkflowContextView) -> Progress {
        self.progress.clone()
    }
}

/// A job.
#[workflow]
#[derive(Default)]
pub struct Prove {
    progress: Progress,
}

impl HasProgress for Prove {
    fn counts(&mut self) -> &mut Progress {
        &mut self.progress
    }
}

#[workflow_methods]
impl Prove {
    #[run]
    pub async fn run(ctx: &mut WorkflowContext<Self>, input: JobInput) -> WorkflowResult<Outcome> {
        let manifest = input.manifest;
        let outline: Outline = ctx.execute_activity(Activities::outline, input, small("outline")).await?;
        let Outline { groups, top } = outline;
        ctx.state_mut(|state| state.progress.tasks = top.len());
        let root = groups + top.len() - 1;
        let has_root = groups == 1 || !top.is_empty();
        let tasks = Rc::new(Tasks { context: ctx.clone(), manifest, items: top, groups });
        if has_root {
            let Done { proof, .. } = tasks.start(root, 0, vec![]).await.map_err(|error| *error)?;
            return Ok(Outcome { manifest, proof });
        }
        let all = try_all((0..groups).map(|group| tasks.clone().start(group, 0, vec![])));
        let lists = all.await.map_err(|error| *error)?.into_iter().map(|done| done.proof).collect::<Vec<_>>();
        let Done { proof, .. } = ctx.execute_activity(Activities::join, lists, small("join")).await?;
        Ok(Outcome { manifest, proof })
    }

    #[query]
    pub fn progress(&self, _ctx: &WorkflowContextView) -> Progress {
        self.progress.clone()
    }
}
