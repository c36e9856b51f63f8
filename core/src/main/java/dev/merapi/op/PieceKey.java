// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.util.Set;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * Names a piece of an op. A value is put and read under the key of its type, so that the one cast, from the key's type to
 * that of the op's own arguments and result, is in {@link Definition}. What compares keys is not generated: the first of
 * such comparisons takes milliseconds, and every program would wait for it.
 *
 * @param <V> what the piece is, for any op
 */
sealed interface PieceKey<V> {
    PieceKey<Function<?, ?>> SHAPE = new Named<>("shape");
    PieceKey<ViewRule<?>> VIEW = new Named<>("view");
    PieceKey<Set<String>> MUTATES = new Named<>("mutates");
    PieceKey<Boolean> RETURNS_MUTATED = new Named<>("returnsMutated");
    PieceKey<ReadyKernel<?, ?>> REFERENCE = new Named<>("reference");
    PieceKey<Backward.Save<?, ?, ?>> SAVE = new Named<>("saveForBackward");
    PieceKey<Backward<?, ?>> BACKWARD = new Named<>("backward");
    PieceKey<Jvp<?, ?>> JVP = new Named<>("jvp");
    PieceKey<Function<?, ?>> COMPOSE = new Named<>("compose");
    PieceKey<Boolean> NON_DIFFERENTIABLE = new Named<>("nonDifferentiable");
    PieceKey<boolean[]> DIFFERENTIABLE_OUTPUTS = new Named<>("differentiableOutputs");
    PieceKey<Set<String>> INTERNAL = new Named<>("internal");
    PieceKey<Function<?, DType>> KERNEL_TYPE = new Named<>("kernelType");
    PieceKey<Function<?, Device>> DEVICE = new Named<>("device");
    PieceKey<Boolean> NONDETERMINISTIC = new Named<>("nondeterministic");
    PieceKey<Boolean> STRIDES_OK = new Named<>("stridesOk");
    PieceKey<CastPolicy> AUTOCAST = new Named<>("autocast");
    PieceKey<Object> CODE = new Named<>("code");

    /** What messages call it: the method that declares it. */
    String text();

    /** A piece that an op has once: one of the constants above, each equal to itself only. */
    final class Named<V> implements PieceKey<V> {
        private final String text;

        private Named(String text) {
            this.text = text;
        }

        @Override
        public String text() {
            return text;
        }

        @Override
        public String toString() {
            return text;
        }
    }

    /** @param dtype null for any */
    record KernelKey(DeviceType device, @Nullable DType dtype) implements PieceKey<KernelPiece> {
        @Override
        public boolean equals(@Nullable Object other) {
            return other instanceof KernelKey k && k.device == device && k.dtype == dtype;
        }

        @Override
        public int hashCode() {
            return 31 * device.hashCode() + (dtype == null ? 0 : dtype.hashCode());
        }

        @Override
        public String text() {
            return "kernel/" + device + "/" + (dtype == null ? "*" : dtype.name());
        }
    }

    record BackwardKernelKey(DeviceType device) implements PieceKey<BackwardPiece> {
        @Override
        public boolean equals(@Nullable Object other) {
            return other instanceof BackwardKernelKey k && k.device == device;
        }

        @Override
        public int hashCode() {
            return device.hashCode();
        }

        @Override
        public String text() {
            return "backwardKernel/" + device;
        }
    }

    /** Registered kernels of a device that are passed over. */
    record DisabledKey(DeviceType device) implements PieceKey<Boolean> {
        @Override
        public boolean equals(@Nullable Object other) {
            return other instanceof DisabledKey k && k.device == device;
        }

        @Override
        public int hashCode() {
            return -device.hashCode();
        }

        @Override
        public String text() {
            return "disabled/" + device;
        }
    }

    /** What the op says to one layer. */
    record LayerKey(Class<?> layer) implements PieceKey<LayerRule<?, ?, ?>> {
        @Override
        public boolean equals(@Nullable Object other) {
            return other instanceof LayerKey k && k.layer == layer;
        }

        @Override
        public int hashCode() {
            return layer.hashCode();
        }

        @Override
        public String text() {
            return "rule/" + layer.getName();
        }
    }

    /** The value of an argument that a call by name leaves out. */
    record DefaultKey(String argument) implements PieceKey<Object> {
        @Override
        public boolean equals(@Nullable Object other) {
            return other instanceof DefaultKey k && k.argument.equals(argument);
        }

        @Override
        public int hashCode() {
            return argument.hashCode();
        }

        @Override
        public String text() {
            return "default/" + argument;
        }
    }
}
