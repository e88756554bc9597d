//! The CPU ops as a burn backend extension: one method per number of tensors, with one autodiff node for all of them.
//!
//! Only flex is listed: [`crate::route`] keeps every other device away.

use burn::backend::{
    Backend, Flex,
    autodiff::{
        Autodiff, NodeId,
        checkpoint::{
            base::Checkpointer, retro_forward::RetroForward, state::BackwardStates, strategy::CheckpointStrategy,
        },
        grads::Gradients,
        ops::{Backward, Ops, OpsKind, OpsPrep},
    },
    backend_extension,
    tensor::FloatTensor,
};
use burn_flex::FlexTensor;

use crate::rules::{Branch, Fused, Join, LinearRule, Move, Norm, Pointwise, Quinary, Rule, Ternary, Trunk, nothing};

/// What burn dispatches.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait CpuOps: Backend {
    fn moved(x: FloatTensor<Self>, rule: Move) -> FloatTensor<Self>;
    fn joined(a: FloatTensor<Self>, b: FloatTensor<Self>, rule: Join) -> FloatTensor<Self>;
    fn trunk(x: FloatTensor<Self>, rule: Trunk) -> FloatTensor<Self>;
    fn branch(x: FloatTensor<Self>, rule: Branch) -> FloatTensor<Self>;
    fn pointwise(x: FloatTensor<Self>, rule: Pointwise) -> FloatTensor<Self>;
    fn ternary(a: FloatTensor<Self>, b: FloatTensor<Self>, c: FloatTensor<Self>, rule: Ternary) -> FloatTensor<Self>;
    fn attention(qkv: FloatTensor<Self>, rule: Fused) -> FloatTensor<Self>;
    fn attention_with_memory(qkv: FloatTensor<Self>, memory: FloatTensor<Self>, rule: Fused) -> FloatTensor<Self>;
    fn norm(
        x: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        rule: Norm,
    ) -> FloatTensor<Self>;
    fn quinary(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        e: FloatTensor<Self>,
        rule: Quinary,
    ) -> FloatTensor<Self>;
}

impl CpuOps for Flex {
    fn moved(x: FlexTensor, rule: Move) -> FlexTensor {
        rule.forward([x])
    }

    fn joined(a: FlexTensor, b: FlexTensor, rule: Join) -> FlexTensor {
        rule.forward([a, b])
    }

    fn trunk(x: FlexTensor, rule: Trunk) -> FlexTensor {
        rule.forward([x])
    }

    fn branch(x: FlexTensor, rule: Branch) -> FlexTensor {
        rule.forward([x])
    }

    fn pointwise(x: FlexTensor, rule: Pointwise) -> FlexTensor {
        rule.forward([x])
    }

    fn ternary(a: FlexTensor, b: FlexTensor, c: FlexTensor, rule: Ternary) -> FlexTensor {
        rule.forward([a, b, c])
    }

    fn attention(qkv: FlexTensor, rule: Fused) -> FlexTensor {
        Rule::<1>::forward(rule, [qkv])
    }

    fn attention_with_memory(qkv: FlexTensor, memory: FlexTensor, rule: Fused) -> FlexTensor {
        Rule::<2>::forward(rule, [qkv, memory])
    }

    fn norm(x: FlexTensor, gain: FlexTensor, scale: FlexTensor, shift: FlexTensor, rule: Norm) -> FlexTensor {
        rule.forward([x, gain, scale, shift])
    }

    fn quinary(a: FlexTensor, b: FlexTensor, c: FlexTensor, d: FlexTensor, e: FlexTensor, rule: Quinary) -> FlexTensor {
        rule.forward([a, b, c, d, e])
    }
}

impl<C: CheckpointStrategy> CpuOps for Autodiff<Flex, C> {
    fn moved(x: FloatTensor<Self>, rule: Move) -> FloatTensor<Self> {
        record_linear::<C, _, 1>(rule, [x])
    }

    fn joined(a: FloatTensor<Self>, b: FloatTensor<Self>, rule: Join) -> FloatTensor<Self> {
        record_linear::<C, _, 2>(rule, [a, b])
    }

    fn trunk(x: FloatTensor<Self>, rule: Trunk) -> FloatTensor<Self> {
        record_linear::<C, _, 1>(rule, [x])
    }

    fn branch(x: FloatTensor<Self>, rule: Branch) -> FloatTensor<Self> {
        record_linear::<C, _, 1>(rule, [x])
    }

    fn pointwise(x: FloatTensor<Self>, rule: Pointwise) -> FloatTensor<Self> {
        record::<C, _, 1>(rule, [x])
    }

    fn ternary(a: FloatTensor<Self>, b: FloatTensor<Self>, c: FloatTensor<Self>, rule: Ternary) -> FloatTensor<Self> {
        record::<C, _, 3>(rule, [a, b, c])
    }

    fn attention(qkv: FloatTensor<Self>, rule: Fused) -> FloatTensor<Self> {
        record::<C, _, 1>(rule, [qkv])
    }

    fn attention_with_memory(qkv: FloatTensor<Self>, memory: FloatTensor<Self>, rule: Fused) -> FloatTensor<Self> {
        record::<C, _, 2>(rule, [qkv, memory])
    }

    fn norm(
        x: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        rule: Norm,
    ) -> FloatTensor<Self> {
        record::<C, _, 4>(rule, [x, gain, scale, shift])
    }

    fn quinary(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        e: FloatTensor<Self>,
        rule: Quinary,
    ) -> FloatTensor<Self> {
        record::<C, _, 5>(rule, [a, b, c, d, e])
    }
}

type Tracked = FloatTensor<Autodiff<Flex>>;

/// The backward step of any rule; its state are the nodes of the inputs.
#[derive(Debug)]
struct Node<R>(R);

impl<R: Rule<N>, const N: usize> Backward<Flex, N> for Node<R> {
    type State = [NodeId; N];

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node);
        let mut kept = self.0.keeps().into_iter();
        let inputs = ops.state.map(|id| match kept.next() {
            Some(true) => checkpointer.retrieve_node_output::<FlexTensor>(id),
            _ => nothing(),
        });
        let needed = ops.parents.each_ref().map(Option::is_some);
        let gradients = self.0.backward(inputs, dy, needed);
        register(ops.parents.map(|node| node.map(|n| n.id)), gradients, grads);
    }
}

fn register<const N: usize>(parents: [Option<NodeId>; N], gradients: [Option<FlexTensor>; N], grads: &mut Gradients) {
    for (parent, gradient) in parents.into_iter().zip(gradients) {
        if let (Some(id), Some(gradient)) = (parent, gradient) {
            grads.register::<Flex>(id, gradient);
        }
    }
}

/// The backward step of a linear rule, which keeps no input.
#[derive(Debug)]
struct LinearNode<R>(R);

impl<R: LinearRule<N>, const N: usize> Backward<Flex, N> for LinearNode<R> {
    type State = ();

    fn backward(self, ops: Ops<(), N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node);
        let needed = ops.parents.each_ref().map(Option::is_some);
        register(ops.parents.map(|node| node.map(|n| n.id)), self.0.backward(dy, needed), grads);
    }
}

/// Computes a cheap rule again when the gradient is taken.
#[derive(Debug)]
struct Again<R, const N: usize> {
    rule: R,
    inputs: [NodeId; N],
}

impl<R: Rule<N>, const N: usize> RetroForward for Again<R, N> {
    fn forward(&self, states: &mut BackwardStates, out_node: NodeId) {
        let inputs = self.inputs.map(|id| states.get_state::<FlexTensor>(&id));
        states.save(out_node, self.rule.forward(inputs));
    }
}

fn record<C: CheckpointStrategy, R: Rule<N>, const N: usize>(rule: R, inputs: [Tracked; N]) -> Tracked {
    let ids = inputs.each_ref().map(|x| x.node().id());
    let prepared: OpsPrep<Node<R>, Flex, [NodeId; N], C, N> =
        Node(rule).prepare::<C>(inputs.each_ref().map(|x| x.node()));
    let kind = if rule.is_cheap() {
        prepared.memory_bound().retro_forward(Again { rule, inputs: ids }).parents(&inputs).stateful()
    } else {
        prepared.compute_bound().stateful()
    };
    match kind {
        OpsKind::Tracked(mut prep) => {
            for (x, _) in inputs.iter().zip(rule.keeps()).filter(|(_, kept)| *kept) {
                prep.checkpoint(x);
            }
            prep.finish(ids, rule.forward(inputs.map(|x| x.into_primitive())))
        }
        OpsKind::UnTracked(prep) => prep.finish(rule.forward(inputs.map(|x| x.into_primitive()))),
    }
}

/// Computes a linear rule again when the gradient is taken.
#[derive(Debug)]
struct LinearAgain<R, const N: usize> {
    rule: R,
    inputs: [NodeId; N],
}

impl<R: LinearRule<N>, const N: usize> RetroForward for LinearAgain<R, N> {
    fn forward(&self, states: &mut BackwardStates, out_node: NodeId) {
        let inputs = self.inputs.map(|id| states.get_state::<FlexTensor>(&id));
        states.save(out_node, self.rule.forward(inputs));
    }
}

fn record_linear<C: CheckpointStrategy, R: LinearRule<N>, const N: usize>(rule: R, inputs: [Tracked; N]) -> Tracked {
    let ids = inputs.each_ref().map(|x| x.node().id());
    let prepared: OpsPrep<LinearNode<R>, Flex, (), C, N> =
        LinearNode(rule.clone()).prepare::<C>(inputs.each_ref().map(|x| x.node()));
    let again = LinearAgain { rule: rule.clone(), inputs: ids };
    let prepared = prepared.memory_bound().retro_forward(again).parents(&inputs);
    prepared.stateless(rule.forward(inputs.map(|x| x.into_primitive())))
}
