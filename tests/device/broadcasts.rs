//! Broadcasts through plain memory: loads of workgroup memory at an index that does not depend on the thread, or of a buffer that threads
//! of a workgroup pass values through.
//!
//! Apple's compiler takes memory that a kernel gets by reference for memory that nothing else refers to, so that barriers mean nothing to
//! it (wgpu #4500, #3181). Where a thread has loaded that very place before, or may have stored to it, it can go on with the value from
//! before the barrier, or load too early. A place that does not depend on the thread is always such a one.

use std::collections::{BTreeSet, HashMap};

use naga::{
    AddressSpace, Barrier, Binding, Block, BuiltIn, Expression, Function, GlobalVariable, Handle, LocalVariable,
    Module, Statement, StorageAccess, TypeInner,
};

/// The broadcasts of a kernel, in words.
pub fn broadcasts(module: &Module) -> BTreeSet<String> {
    let mut search = Search { module, private: BTreeSet::new(), calls: HashMap::new() };
    let main = &module.entry_points[0].function;
    let arguments: Vec<_> = main.arguments.iter().map(|argument| !is_uniform(argument.binding.as_ref())).collect();
    // what private variables hold is known once nothing is new
    loop {
        let known = search.private.len();
        search.calls.clear();
        let outcome = search.function(main, &arguments);
        if search.private.len() == known {
            return outcome.found;
        }
    }
}

fn is_uniform(binding: Option<&Binding>) -> bool {
    use BuiltIn::{NumSubgroups, NumWorkGroups, SubgroupSize, WorkGroupId, WorkGroupSize};
    let Some(Binding::BuiltIn(built_in)) = binding else { return false };
    matches!(built_in, WorkGroupId | NumWorkGroups | WorkGroupSize | SubgroupSize | NumSubgroups)
}

/// Follows what depends on the thread: values that come from its indices, and what is loaded at or selected by those. What merely is
/// assigned in a branch that some threads take does not count.
struct Search<'a> {
    module: &'a Module,
    /// Private variables that hold what depends on the thread.
    private: BTreeSet<Handle<GlobalVariable>>,
    /// By function, and which of its arguments depend on the thread.
    calls: HashMap<(Handle<Function>, Vec<bool>), Outcome>,
}

/// What a call gives.
#[derive(Clone, Default)]
struct Outcome {
    /// Whether the value depends on the thread.
    varies: bool,
    found: BTreeSet<String>,
}

/// What is known within a function.
struct Scope<'a, 's> {
    function: &'a Function,
    arguments: &'s [bool],
    /// Variables that hold what depends on the thread.
    locals: BTreeSet<Handle<LocalVariable>>,
    /// Whether an expression depends on the thread.
    values: HashMap<Handle<Expression>, bool>,
    outcome: Outcome,
}

impl Scope<'_, '_> {
    /// The variable (or argument) that a pointer leads into.
    fn root(&self, pointer: Handle<Expression>) -> &Expression {
        match &self.function.expressions[pointer] {
            Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => self.root(*base),
            root => root,
        }
    }
}

impl<'a> Search<'a> {
    fn function(&mut self, function: &'a Function, arguments: &[bool]) -> Outcome {
        let mut locals = BTreeSet::new();
        // loops carry variables back
        loop {
            let (known, values) = (locals.len(), HashMap::new());
            let mut scope = Scope { function, arguments, locals, values, outcome: Outcome::default() };
            self.block(&mut scope, &function.body);
            if scope.locals.len() == known {
                return scope.outcome;
            }
            locals = scope.locals;
        }
    }

    fn block(&mut self, scope: &mut Scope<'a, '_>, block: &'a Block) {
        for statement in block {
            self.statement(scope, statement);
            blocks(statement).into_iter().for_each(|block| self.block(scope, block));
        }
    }

    fn statement(&mut self, scope: &mut Scope<'a, '_>, statement: &'a Statement) {
        match statement {
            Statement::Emit(range) => {
                for expression in range.clone() {
                    self.varies(scope, expression);
                    if let Expression::Load { pointer } = scope.function.expressions[expression] {
                        self.check_load(scope, pointer);
                    }
                }
            }
            Statement::WorkGroupUniformLoad { pointer, .. } => self.check_load(scope, *pointer),
            Statement::Store { pointer, value } => self.store(scope, *pointer, *value),
            Statement::Return { value: Some(value) } => scope.outcome.varies |= self.varies(scope, *value),
            Statement::Call { function, arguments, result } => {
                let arguments = arguments.iter().map(|argument| self.varies(scope, *argument)).collect();
                let Outcome { varies, found } = self.call((*function, arguments));
                scope.outcome.found.extend(found);
                scope.values.extend(result.map(|result| (result, varies)));
            }
            _ => {}
        }
    }

    fn call(&mut self, call: (Handle<Function>, Vec<bool>)) -> Outcome {
        if let Some(outcome) = self.calls.get(&call) {
            return outcome.clone();
        }
        let outcome = self.function(&self.module.functions[call.0], &call.1);
        self.calls.insert(call, outcome.clone());
        outcome
    }

    fn store(&mut self, scope: &mut Scope<'a, '_>, pointer: Handle<Expression>, value: Handle<Expression>) {
        let varies = self.place_varies(scope, pointer) | self.varies(scope, value);
        match *scope.root(pointer) {
            Expression::LocalVariable(local) if varies => drop(scope.locals.insert(local)),
            Expression::GlobalVariable(global) if varies => drop(self.private.insert(global)),
            Expression::LocalVariable(_) | Expression::GlobalVariable(_) => {}
            _ => panic!("no kernel stores through a pointer that it is passed"),
        }
    }

    fn check_load(&mut self, scope: &mut Scope<'a, '_>, pointer: Handle<Expression>) {
        let Expression::GlobalVariable(global) = *scope.root(pointer) else { return };
        let variable = &self.module.global_variables[global];
        if self.is_exchanged(variable) && !self.place_varies(scope, pointer) {
            let name = |name: &Option<String>| name.clone().unwrap_or_default();
            let found = format!("`{}` is a broadcast in `{}`", name(&variable.name), name(&scope.function.name));
            scope.outcome.found.insert(found);
        }
    }

    /// Whether threads pass values through this plain variable.
    fn is_exchanged(&self, variable: &GlobalVariable) -> bool {
        let mut ty = &self.module.types[variable.ty].inner;
        while let TypeInner::Array { base, .. } = ty {
            ty = &self.module.types[*base].inner;
        }
        let is_plain = !matches!(ty, TypeInner::Atomic(_));
        is_plain
            && match variable.space {
                AddressSpace::WorkGroup => true,
                AddressSpace::Storage { access } => {
                    access.contains(StorageAccess::STORE) && waits(self.module, Barrier::STORAGE)
                }
                _ => false,
            }
    }

    /// Whether the place within its variable that a pointer leads to depends on the thread.
    fn place_varies(&mut self, scope: &mut Scope<'a, '_>, pointer: Handle<Expression>) -> bool {
        match scope.function.expressions[pointer] {
            Expression::Access { base, index } => self.varies(scope, index) | self.place_varies(scope, base),
            Expression::AccessIndex { base, .. } => self.place_varies(scope, base),
            _ => false,
        }
    }

    fn varies(&mut self, scope: &mut Scope<'a, '_>, expression: Handle<Expression>) -> bool {
        if let Some(varies) = scope.values.get(&expression) {
            return *varies;
        }
        let varies = match scope.function.expressions[expression] {
            Expression::FunctionArgument(i) => scope.arguments[i as usize],
            Expression::Load { pointer } => {
                let held = match scope.root(pointer) {
                    Expression::LocalVariable(local) => scope.locals.contains(local),
                    Expression::GlobalVariable(global) => {
                        let is_private = self.module.global_variables[*global].space == AddressSpace::Private;
                        is_private && self.private.contains(global)
                    }
                    _ => false,
                };
                held | self.place_varies(scope, pointer)
            }
            Expression::AtomicResult { .. }
            | Expression::SubgroupBallotResult
            | Expression::SubgroupOperationResult { .. } => true,
            ref other => operands(other).into_iter().fold(false, |any, operand| any | self.varies(scope, operand)),
        };
        scope.values.insert(expression, varies);
        varies
    }
}

/// What an expression is computed from, if not from memory.
fn operands(expression: &Expression) -> Vec<Handle<Expression>> {
    match expression {
        Expression::Compose { components, .. } => components.clone(),
        Expression::Access { base, index } => vec![*base, *index],
        Expression::AccessIndex { base, .. } => vec![*base],
        Expression::Splat { value, .. } => vec![*value],
        Expression::Swizzle { vector, .. } => vec![*vector],
        Expression::Unary { expr, .. } | Expression::As { expr, .. } => vec![*expr],
        Expression::Binary { left, right, .. } => vec![*left, *right],
        Expression::Select { condition, accept, reject } => vec![*condition, *accept, *reject],
        Expression::Relational { argument, .. } => vec![*argument],
        Expression::Math { arg, arg1, arg2, arg3, .. } => {
            [Some(*arg), *arg1, *arg2, *arg3].into_iter().flatten().collect()
        }
        _ => vec![],
    }
}

/// The blocks within a statement.
fn blocks(statement: &Statement) -> Vec<&Block> {
    match statement {
        Statement::Block(block) => vec![block],
        Statement::If { accept, reject, .. } => vec![accept, reject],
        Statement::Loop { body, continuing, .. } => vec![body, continuing],
        Statement::Switch { cases, .. } => cases.iter().map(|case| &case.body).collect(),
        _ => vec![],
    }
}

/// Whether a kernel has a barrier with one of these flags.
pub fn waits(module: &Module, flags: Barrier) -> bool {
    fn waits_in(block: &Block, flags: Barrier) -> bool {
        let here = |statement| matches!(statement, &Statement::ControlBarrier(barrier) if barrier.intersects(flags));
        block
            .iter()
            .any(|statement| here(statement) || blocks(statement).into_iter().any(|block| waits_in(block, flags)))
    }
    let functions = module.functions.iter().map(|(_, function)| function);
    let entries = module.entry_points.iter().map(|entry| &entry.function);
    functions.chain(entries).any(|function| waits_in(&function.body, flags))
}
