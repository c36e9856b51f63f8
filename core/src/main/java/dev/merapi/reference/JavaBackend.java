// SPDX-License-Identifier: Apache-2.0
package dev.merapi.reference;

import dev.merapi.backend.KernelTable;
import dev.merapi.dispatch.FallbackBackend;
import dev.merapi.dispatch.ScopedKernel;
import dev.merapi.memory.HeapAllocator;
import dev.merapi.memory.RawAllocator;
import dev.merapi.op.Definition;
import dev.merapi.op.ReadyKernel;
import dev.merapi.ops.code.PointwiseCode;
import dev.merapi.ops.code.ReduceCode;
import dev.merapi.ops.code.StepCode;
import dev.merapi.types.DType;
import dev.merapi.types.DeviceType;
import org.jspecify.annotations.Nullable;

/** A device on the Java heap that runs reference kernels: the CPU without natives, or a toy device for tests. */
public final class JavaBackend implements FallbackBackend {
    private final DeviceType type;
    private final RawAllocator memory = new HeapAllocator();

    /** The CPU. */
    public JavaBackend() {
        this(DeviceType.CPU);
    }

    public JavaBackend(DeviceType type) {
        this.type = type;
    }

    @Override
    public DeviceType deviceType() {
        return type;
    }

    @Override
    public String description() {
        return "plain Java";
    }

    @Override
    public int priority() {
        return -100;
    }

    @Override
    public RawAllocator memory(int index) {
        return memory;
    }

    @Override
    public KernelTable kernelTable() {
        return ReferenceKernels.TABLE;
    }

    /** Null for an op that has a reference of its own, which goes before. */
    @Override
    public @Nullable ReadyKernel<?, ?> kernel(Definition<?, ?> op, @Nullable DType dtype) {
        ReadyKernel<?, ?> kernel = op.reference() != null ? null : find(op, dtype);
        return kernel == null ? null : ScopedKernel.of(op, kernel);
    }

    private static @Nullable ReadyKernel<?, ?> find(Definition<?, ?> op, @Nullable DType dtype) {
        if (op.code() instanceof PointwiseCode code) {
            return PointwiseReference.kernel(code);
        }
        if (op.code() instanceof ReduceCode code) {
            // An epilogue is for as many numbers as there are results: a second op does as well.
            return code.epilogue() == null ? ReductionReference.kernel(op.name(), code) : null;
        }
        if (op.code() instanceof StepCode code) {
            return StepReference.kernel(code);
        }
        return ReferenceKernels.TABLE.get(op, dtype);
    }
}
