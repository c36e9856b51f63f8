// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.op;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.autograd.Autograd;
import dev.merapi.backend.Backend;
import dev.merapi.backend.Backends;
import dev.merapi.memory.HeapAllocator;
import dev.merapi.memory.RawAllocator;
import dev.merapi.op.Backward;
import dev.merapi.op.Definition;
import dev.merapi.op.Grads;
import dev.merapi.op.Kernel;
import dev.merapi.op.Op;
import dev.merapi.op.ReadyKernel;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/** A backend that comes or goes takes its kernels with it, forward, backward and expansions. */
class ReplacedBackendTest {
    private static final DeviceType TOY = DeviceType.register("toy");

    public record X(Tensor x) {}

    /** Answers every op of this test by its number. */
    private record Numbered(int number, int priority, RawAllocator raw) implements Backend {
        Numbered(int number, int priority) {
            this(number, priority, new HeapAllocator());
        }

        @Override
        public DeviceType deviceType() {
            return TOY;
        }

        @Override
        public String description() {
            return "number " + number;
        }

        @Override
        public RawAllocator memory(int index) {
            return raw;
        }

        @Override
        public @Nullable ReadyKernel<?, ?> kernel(Definition<?, ?> op, @Nullable DType dtype) {
            return op.name().equals("replaced::op") ? (Kernel<X, Tensor>) (a, out) -> fill(out, number) : null;
        }

        @Override
        public @Nullable Backward<?, ?> backwardKernel(Definition<?, ?> op) {
            return op.name().equals("replaced::op")
                    ? (Backward<Object, Tensor>) (c, s, g) -> {
                        Tensor d = Tensor.zeros(g.shape(), g.dtype(), g.device());
                        fill(d, 10 * number);
                        return Grads.of("x", d);
                    }
                    : null;
        }

        @Override
        public @Nullable Function<?, ?> expansion(Definition<?, ?> op) {
            return op.name().equals("replaced::composed") ? (X a) -> a.x().mul(number) : null;
        }
    }

    private static void fill(Tensor t, double value) {
        Elements e = Elements.of(t);
        for (long i = 0; i < e.numel(); i++) {
            e.setDouble(i, value);
        }
    }

    private static final Op<X, Tensor> OP = Op.define("replaced::op", X.class, Tensor.class)
            .shape(a -> Tensor.meta(a.x()))
            .reference((a, out) -> fill(out, -1))
            .autograd((a, out) -> null, (c, s, g) -> Grads.of("x", g));

    private static final Op<X, Tensor> COMPOSED =
            Op.define("replaced::composed", X.class, Tensor.class).compose(a -> a.x().mul(-1));

    private static void expect(int number) {
        try (Tensor x = Tensor.of(1.0).to(Device.of(TOY, 0)).detach().requiresGrad(true);
                Tensor y = OP.call(new X(x));
                Tensor z = COMPOSED.call(new X(x))) {
            assertThat(y.item()).isEqualTo(number);
            assertThat(z.item()).isEqualTo(number);
            Autograd.backward(y.sum());
            assertThat(x.grad().item()).isEqualTo(10 * number);
            x.setGrad(null);
        }
    }

    @Test
    void kernelsGoWithTheirBackend() {
        try (Backends.Registration first = Backends.register(new Numbered(1, 0))) {
            expect(1);
        }
        try (Backends.Registration second = Backends.register(new Numbered(2, 0))) {
            expect(2);
            try (Backends.Registration third = Backends.register(new Numbered(3, 1))) {
                expect(3);
                third.close(); // twice is once
            }
            expect(2);
        }
        Tensor here = Tensor.of(1.0);
        assertThat(OP.call(new X(here)).item()).as("of another device").isEqualTo(-1);
    }
}
