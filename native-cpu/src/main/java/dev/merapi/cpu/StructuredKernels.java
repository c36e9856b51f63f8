// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import dev.merapi.backend.KernelTable;
import dev.merapi.error.Message;
import dev.merapi.error.OutOfMemoryException;
import dev.merapi.op.Definition;
import dev.merapi.op.Kernel;
import dev.merapi.op.ReadyKernel;
import dev.merapi.types.DType;
import java.util.EnumSet;
import java.util.Iterator;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** The native kernels of ops that are neither pointwise nor reductions. Ops that are not here run in plain Java. */
final class StructuredKernels {
    private static final KernelTable TABLE = new KernelTable();
    private static final Set<Group> WAITING = EnumSet.allOf(Group.class);

    /**
     * Kernels that go into the table together, with the classes that hold their ops. A group waits for the first op of one of
     * these: each kernel is two classes or more, and a start would wait for all of them.
     */
    enum Group {
        PRODUCTS("LinearAlgebra"),
        SOFTMAX("Softmax", "Scans", "Reductions"),
        POSITIONS("Factories", "Rearranging", "Indexing"),
        INDICES("Indexing", "Ordering", "Scattering", "Searching"),
        RANDOM("RandomOps"),
        NORMS("Normalization", "Losses"),
        ATTENTION("Attention", "SelfAttention"),
        CONVOLUTIONS("Convolution", "Pooling"),
        OPTIMIZERS("Optimizers");

        private final List<String> holders;

        Group(String... holders) {
            this.holders = List.of(holders);
        }

        boolean has(Class<? extends Record> arguments) {
            String name = arguments.getName();
            for (String holder : holders) { // no stream, and no lambda below: they are a start's time, too
                if (name.startsWith("dev.merapi.ops." + holder + "$")) {
                    return true;
                }
            }
            return false;
        }

        void into(KernelTable table) {
            switch (this) {
                case PRODUCTS -> MatmulKernels.register(table);
                case SOFTMAX -> SoftmaxKernels.register(table);
                case POSITIONS -> PositionKernels.register(table);
                case INDICES -> IndexKernels.register(table);
                case RANDOM -> RandomKernels.register(table);
                case NORMS -> NormKernels.register(table);
                case ATTENTION -> AttentionKernels.register(table);
                case CONVOLUTIONS -> ConvolutionKernels.register(table);
                case OPTIMIZERS -> OptimizerKernels.register(table);
            }
        }
    }

    private StructuredKernels() {}

    /** All of them. */
    static synchronized KernelTable table() {
        WAITING.forEach(group -> group.into(TABLE));
        WAITING.clear();
        return TABLE;
    }

    /** The kernel of an op for a dtype, or null. Asked once for each op and dtype. */
    static synchronized <A extends Record, R> @Nullable ReadyKernel<A, R> of(
            Definition<A, R> op, @Nullable DType dtype) {
        for (Iterator<Group> waiting = WAITING.iterator(); waiting.hasNext(); ) {
            Group group = waiting.next();
            if (group.has(op.op().argumentType())) {
                group.into(TABLE);
                waiting.remove();
            }
        }
        ReadyKernel<A, R> kernel = TABLE.get(op, dtype);
        return kernel instanceof Kernel<A, R> filling
                ? telling(op.name(), filling)
                : kernel instanceof Kernel.Returning<A, R> returning ? telling(op.name(), returning) : null;
    }

    private static <A, R> Kernel<A, R> telling(String op, Kernel<A, R> kernel) {
        return (args, out) -> {
            try {
                kernel.run(args, out);
            } catch (RuntimeException e) {
                throw told(op, e);
            }
        };
    }

    private static <A, R> Kernel.Returning<A, R> telling(String op, Kernel.Returning<A, R> kernel) {
        return args -> {
            try {
                return kernel.run(args);
            } catch (RuntimeException e) {
                throw told(op, e);
            }
        };
    }

    /** What C++ throws has no class of its own: it is always that there was no working memory. */
    private static RuntimeException told(String op, RuntimeException e) {
        if (e.getClass() != RuntimeException.class) {
            return e;
        }
        return new OutOfMemoryException(
                Message.of(op + ": " + e.getMessage())
                        .fix("close tensors that are no longer needed, or give the process more memory."),
                0,
                Native.memory_limit());
    }
}
