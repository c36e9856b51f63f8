// SPDX-License-Identifier: Apache-2.0
/** The engine: tensors, ops, autograd, and a CPU backend in plain Java. */
@SuppressWarnings("module") // those to which the inside is exported are built later
module dev.merapi.core {
    requires transitive org.slf4j;
    requires static jdk.jfr; // a runtime image may lack it
    requires transitive org.jspecify; // its @Nullable is read at run time: an argument that may be left out

    exports dev.merapi;
    exports dev.merapi.types;
    exports dev.merapi.error;
    exports dev.merapi.memory;
    exports dev.merapi.backend;
    exports dev.merapi.device;
    exports dev.merapi.layer;
    exports dev.merapi.tensor;
    exports dev.merapi.op;
    exports dev.merapi.expr;
    exports dev.merapi.ops;
    exports dev.merapi.autograd;
    exports dev.merapi.check;
    exports dev.merapi.random;
    exports dev.merapi.state;
    exports dev.merapi.nn;
    exports dev.merapi.optim;
    exports dev.merapi.data;
    exports dev.merapi.io;
    exports dev.merapi.train;
    exports dev.merapi.profile;

    // The inside of the engine, for its own modules; ArchUnit holds which of them may see what.
    exports dev.merapi.storage to
            dev.merapi.cpu,
            dev.merapi.cuda,
            dev.merapi.testkit;
    exports dev.merapi.dispatch to
            dev.merapi.cpu,
            dev.merapi.cuda,
            dev.merapi.testkit;
    exports dev.merapi.reference to
            dev.merapi.cpu,
            dev.merapi.cuda,
            dev.merapi.testkit;
    exports dev.merapi.autograd.graph to
            dev.merapi.cpu,
            dev.merapi.cuda,
            dev.merapi.testkit;
    exports dev.merapi.expr.ir to
            dev.merapi.cpu,
            dev.merapi.cuda,
            dev.merapi.testkit;
    exports dev.merapi.op.tree to
            dev.merapi.cpu,
            dev.merapi.cuda,
            dev.merapi.testkit;
    exports dev.merapi.ops.code to
            dev.merapi.cpu,
            dev.merapi.cuda,
            dev.merapi.testkit;

    uses dev.merapi.backend.Backend;
    uses dev.merapi.dispatch.FallbackBackend;
    uses dev.merapi.dispatch.GraphLayer;
    uses dev.merapi.expr.ir.Nodes;

    provides dev.merapi.dispatch.FallbackBackend with
            dev.merapi.reference.JavaBackend;
    provides dev.merapi.dispatch.GraphLayer with
            dev.merapi.autograd.graph.Recorder;
    provides dev.merapi.expr.ir.Nodes with
            dev.merapi.expr.ir.InternedNodes;
}
