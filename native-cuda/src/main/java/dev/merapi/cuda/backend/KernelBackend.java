// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import dev.merapi.backend.Backend;
import dev.merapi.backend.Graphs;
import dev.merapi.backend.KernelTable;
import dev.merapi.backend.Streams;
import dev.merapi.cuda.kernels.CustomBackward;
import dev.merapi.cuda.kernels.CustomKernel;
import dev.merapi.cuda.kernels.FusedFeedForward;
import dev.merapi.cuda.kernels.LinearGradients;
import dev.merapi.cuda.kernels.MoveKernel;
import dev.merapi.cuda.kernels.PointwiseKernel;
import dev.merapi.cuda.kernels.ReduceKernel;
import dev.merapi.cuda.kernels.StepKernel;
import dev.merapi.cuda.kernels.StructuredKernels;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.GraphCapture;
import dev.merapi.dispatch.ScopedKernel;
import dev.merapi.error.DeviceException;
import dev.merapi.error.Message;
import dev.merapi.memory.RawAllocator;
import dev.merapi.op.Backward;
import dev.merapi.op.CudaKernel;
import dev.merapi.op.Definition;
import dev.merapi.op.DeviceCode;
import dev.merapi.op.KernelPiece;
import dev.merapi.op.ReadyKernel;
import dev.merapi.ops.FeedForwardOp;
import dev.merapi.ops.LinearAlgebra;
import dev.merapi.ops.code.PointwiseCode;
import dev.merapi.ops.code.ReduceCode;
import dev.merapi.ops.code.StepCode;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.util.Collections;
import java.util.Map;
import java.util.WeakHashMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicReferenceArray;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * A backend above a {@link CudaRuntime}: which kernel serves which op, and how the engine's memory, streams and graphs are
 * the runtime's. A runtime like CUDA's becomes a kind of device by a subclass that opens it, which the service loader finds
 * as {@link Backend}, or which is given to {@code Backends.register}.
 */
public abstract class KernelBackend implements Backend {
    private final DeviceType type;
    private final String name;
    /** Go with the definitions of their ops, as everything does that was compiled for an op. */
    private final Map<Definition<?, ?>, Map<CudaKernel, CustomBackward>> backwards =
            Collections.synchronizedMap(new WeakHashMap<>());

    private @Nullable CudaRuntime opened;
    private @Nullable Throwable failure;
    private volatile @Nullable Running running;

    /** What exists once a runtime does. */
    private record Running(
            CudaRuntime runtime,
            Kernels kernels,
            KernelTable table,
            MoveKernel move,
            Graphs graphs,
            Streams streams,
            AtomicReferenceArray<RawAllocator> memory) {}

    /**
     * A backend that nothing is opened for yet.
     *
     * @param type the kind of its devices
     * @param name what it is called until its runtime describes itself
     */
    protected KernelBackend(DeviceType type, String name) {
        this.type = type;
        this.name = name;
    }

    /**
     * Opens the runtime; called once. What it throws, a {@code RuntimeException} or a {@code LinkageError}, is why there is
     * none.
     */
    protected abstract CudaRuntime open();

    private synchronized @Nullable CudaRuntime opened() {
        if (opened == null && failure == null) {
            try {
                opened = open();
            } catch (LinkageError | RuntimeException e) {
                failure = e;
            }
        }
        return opened;
    }

    /** Why the runtime could not be opened; null if nobody has tried, or it could. */
    protected final synchronized @Nullable Throwable failure() {
        return failure;
    }

    /** Opens the runtime to find out. */
    @Override
    public @Nullable Throwable unavailableBecause() {
        opened();
        return failure();
    }

    @Override
    public synchronized String description() {
        return opened == null ? name : opened.description();
    }

    private Running running() {
        Running r = running;
        return r == null ? begun() : r;
    }

    private synchronized Running begun() {
        Running r = running;
        if (r == null) {
            Throwable why = unavailableBecause();
            CudaRuntime runtime = why == null ? opened() : null;
            if (runtime == null) {
                throw new IllegalStateException(type + " is not available", why == null ? failure() : why);
            }
            Kernels kernels = new Kernels(runtime, type);
            r = new Running(
                    runtime,
                    kernels,
                    StructuredKernels.table(kernels),
                    new MoveKernel(runtime),
                    new RuntimeGraphs(runtime),
                    new RuntimeStreams(runtime),
                    new AtomicReferenceArray<>(runtime.deviceCount()));
            running = r;
        }
        return r;
    }

    /** The runtime that this stands on. */
    public final CudaRuntime runtime() {
        return running().runtime;
    }

    static {
        Kernels.findBy(b -> ((KernelBackend) b).kernels());
    }

    /** Rooms of this module find them by {@link Kernels#of}: others cannot name the type. */
    final Kernels kernels() {
        return running().kernels;
    }

    @Override
    public DeviceType deviceType() {
        return type;
    }

    @Override
    public int deviceCount() {
        return running().memory.length();
    }

    @Override
    public RawAllocator memory(int index) {
        Running r = running();
        RawAllocator known = r.memory.get(index);
        return known != null ? known : begin(r, index);
    }

    private synchronized RawAllocator begin(Running r, int index) {
        RawAllocator known = r.memory.get(index);
        if (known == null) {
            requireGroups(r.runtime.properties(index), index);
            known = new DeviceMemory(r.runtime, index);
            r.memory.set(index, known);
        }
        return known;
    }

    private void requireGroups(CudaRuntime.Properties device, int index) {
        if (device.warp() <= 0 || device.warp() % CudaRuntime.GROUP != 0) {
            throw new DeviceException(Message.of(type + ":" + index + ": its warps have " + device.warp()
                            + " threads, but kernels exchange values within groups of " + CudaRuntime.GROUP)
                    .fact("device", device.describe())
                    .fix("a device whose warps hold whole groups."));
        }
    }

    @Override
    public KernelTable kernelTable() {
        return running().table;
    }

    @Override
    public @Nullable ReadyKernel<?, ?> kernel(Definition<?, ?> op, @Nullable DType dtype) {
        Running r = running();
        // The simulator, and whatever else stands on this, runs what is registered for CUDA.
        KernelPiece registered = type == DeviceType.CUDA ? null : op.kernel(DeviceType.CUDA, dtype);
        if (registered instanceof DeviceCode code) {
            return link(op, code, dtype);
        }
        if (registered instanceof ReadyKernel<?, ?> ready) {
            return ScopedKernel.of(op, ready);
        }
        if (op.code() instanceof PointwiseCode code) {
            return new PointwiseKernel(op.name(), code, r.kernels);
        }
        if (op.code() instanceof ReduceCode code) {
            return new ReduceKernel(op.name(), code, r.kernels);
        }
        if (op.code() instanceof StepCode code) {
            return new StepKernel(op.name(), code, r.kernels);
        }
        return r.table.get(op, dtype);
    }

    @Override
    public @Nullable ReadyKernel<?, ?> link(Definition<?, ?> op, DeviceCode code, @Nullable DType dtype) {
        return code instanceof CudaKernel kernel ? new CustomKernel(op, kernel, kernels()) : null;
    }

    @Override
    public @Nullable Backward<?, ?> linkBackward(Definition<?, ?> op, DeviceCode code) {
        return code instanceof CudaKernel kernel
                ? backwards
                        .computeIfAbsent(op, o -> new ConcurrentHashMap<>())
                        .computeIfAbsent(kernel, k -> new CustomBackward(op, k, kernels()))
                : null;
    }

    /** The simulator runs what is registered for CUDA. */
    @Override
    public @Nullable Backward<?, ?> backwardKernel(Definition<?, ?> op) {
        if (op.op() == LinearAlgebra.LINEAR && running().runtime.hasBlas()) {
            return LinearGradients.BACKWARD;
        }
        Object registered = type == DeviceType.CUDA ? null : op.backwardKernel(DeviceType.CUDA);
        return registered instanceof DeviceCode code ? linkBackward(op, code) : (Backward<?, ?>) registered;
    }

    @Override
    public @Nullable Function<?, ?> expansion(Definition<?, ?> op) {
        return op.op() == FeedForwardOp.FEED_FORWARD && running().runtime.hasBlas() ? FusedFeedForward.EXPANSION : null;
    }

    @Override
    public void copy(Tensor source, Tensor target) {
        running().move.copy(source, target);
    }

    @Override
    public Streams streams() {
        return running().streams;
    }

    @Override
    public Graphs graphs() {
        return running().graphs;
    }

    @Override
    public void synchronize(int index) {
        GraphCapture capture = Context.current().graphCapture();
        if (capture != null && capture.device() == Device.of(type, index)) {
            throw capture.refused("synchronize", "waits for the device");
        }
        running().runtime.synchronize(index);
    }
}
