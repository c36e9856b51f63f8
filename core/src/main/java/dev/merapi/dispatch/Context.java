// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

import dev.merapi.autograd.SavedTensorHooks;
import dev.merapi.random.Generator;
import dev.merapi.storage.CachingAllocator;
import dev.merapi.storage.ThreadState;
import dev.merapi.tensor.Scope;
import dev.merapi.types.Device;
import org.jspecify.annotations.Nullable;

/**
 * All that a call takes from its thread, read with one thread-local access: modes, layers, scope, generator. Backward,
 * checkpointing and worker threads carry it on by {@link #capture}. Works with virtual threads.
 */
public final class Context {
    private static final ThreadLocal<Context> CURRENT = ThreadLocal.withInitial(Context::new);
    /** Whether new threads begin in checked mode: {@code -Dmerapi.checked=true}. */
    private static final boolean CHECKED_BY_DEFAULT = Boolean.getBoolean("merapi.checked");

    private final ThreadState memory = new ThreadState();
    private boolean gradEnabled = true;
    private boolean inference;
    private boolean anomaly;
    private boolean strictMutation;
    /** Layers that are on because of the thread, not because of a tensor. */
    private int active = CHECKED_BY_DEFAULT ? Key.CHECKED : 0;

    private int mask;
    private @Nullable Interceptor tracer;
    private @Nullable Interceptor autocast;
    private @Nullable Scope scope;
    private @Nullable Generator generator;
    private @Nullable SavedTensorHooks savedTensorHooks;
    private @Nullable Object backwardPass;
    private @Nullable DeviceStream stream;
    private @Nullable GraphCapture graphCapture;
    private @Nullable ThreadMode mode;
    /** Where this thread takes memory of one device from, if not from the device's common allocator. */
    private @Nullable CachingAllocator ownAllocator;

    private Context() {}

    public static Context current() {
        return CURRENT.get();
    }

    public ThreadState memory() {
        return memory;
    }

    /** Whether calls on tensors that require gradients are recorded. */
    public boolean isGradEnabled() {
        return gradEnabled;
    }

    public boolean setGradEnabled(boolean enabled) {
        boolean before = gradEnabled;
        gradEnabled = enabled;
        return before;
    }

    /** Inference mode: nothing is recorded, and what is made here can never be. */
    public boolean isInference() {
        return inference;
    }

    public boolean setInference(boolean on) {
        boolean before = inference;
        inference = on;
        return before;
    }

    /** Anomaly mode: nodes remember where they were made, and NaN in a gradient is an error. */
    public boolean isAnomaly() {
        return anomaly;
    }

    public boolean setAnomaly(boolean on) {
        boolean before = anomaly;
        anomaly = on;
        return before;
    }

    public boolean isChecked() {
        return (active & Key.CHECKED) != 0;
    }

    /** Whether writes in place remember where they were called from. */
    public boolean remembersWrites() {
        return anomaly || isChecked();
    }

    public boolean setChecked(boolean on) {
        boolean before = isChecked();
        active = on ? active | Key.CHECKED : active & ~Key.CHECKED;
        return before;
    }

    /** In checked mode, whether a declared write that changes nothing is an error; for {@code OpCheck}. */
    boolean strictMutation() {
        return strictMutation;
    }

    public boolean setStrictMutation(boolean on) {
        boolean before = strictMutation;
        strictMutation = on;
        return before;
    }

    /** Layers that are on for this thread and not masked. */
    int activeLayers() {
        return active & ~mask;
    }

    int mask() {
        return mask;
    }

    /** Masks layers; returns the mask to be restored with {@link #restoreMask}. */
    public int addMask(int layers) {
        int before = mask;
        mask |= layers;
        return before;
    }

    /** Unmasks layers; returns the mask to be restored. */
    public int removeMask(int layers) {
        int before = mask;
        mask &= ~layers;
        return before;
    }

    /** Unmasks all layers; returns the mask to be restored. */
    public int clearMask() {
        int before = mask;
        mask = 0;
        return before;
    }

    public void restoreMask(int before) {
        mask = before;
    }

    public @Nullable Interceptor tracer() {
        return tracer;
    }

    /** Puts an interceptor above all layers, or takes it away; returns the one before. */
    public @Nullable Interceptor setTracer(@Nullable Interceptor newTracer) {
        Interceptor before = tracer;
        tracer = newTracer;
        active = newTracer == null ? active & ~Key.TRACE : active | Key.TRACE;
        return before;
    }

    /** What stands between tracing and autograd, or null. */
    public @Nullable Interceptor autocast() {
        return autocast;
    }

    /** Puts an interceptor between tracing and autograd, or takes it away; returns the one before. */
    public @Nullable Interceptor setAutocast(@Nullable Interceptor newAutocast) {
        Interceptor before = autocast;
        autocast = newAutocast;
        active = newAutocast == null ? active & ~Key.AUTOCAST : active | Key.AUTOCAST;
        return before;
    }

    public @Nullable Scope scope() {
        return scope;
    }

    public void setScope(@Nullable Scope newScope) {
        scope = newScope;
    }

    /** The mode that was opened last and is still open. */
    @Nullable
    ThreadMode mode() {
        return mode;
    }

    void setMode(@Nullable ThreadMode newMode) {
        mode = newMode;
    }

    /** The generator that random ops draw from; the thread's own, or else the process's. */
    public Generator generator() {
        Generator g = generator;
        return g == null ? Generator.global() : g;
    }

    public @Nullable Generator setGenerator(@Nullable Generator newGenerator) {
        Generator before = generator;
        generator = newGenerator;
        return before;
    }

    public @Nullable SavedTensorHooks savedTensorHooks() {
        return savedTensorHooks;
    }

    public @Nullable SavedTensorHooks setSavedTensorHooks(@Nullable SavedTensorHooks hooks) {
        SavedTensorHooks before = savedTensorHooks;
        savedTensorHooks = hooks;
        return before;
    }

    /** The backward pass that this thread is in, which only autograd knows how to read; null in none. */
    public @Nullable Object backwardPass() {
        return backwardPass;
    }

    public @Nullable Object setBackwardPass(@Nullable Object pass) {
        Object before = backwardPass;
        backwardPass = pass;
        return before;
    }

    /** The stream that this thread uses for its device; null if each device's own serves. */
    public @Nullable DeviceStream stream() {
        return stream;
    }

    /** The handle of the stream that this thread's work on a device goes to. */
    public long stream(Device device) {
        DeviceStream s = stream;
        return s != null && s.device() == device && s.isOpen() ? s.handle() : 0;
    }

    @Nullable
    DeviceStream setStream(@Nullable DeviceStream newStream) {
        DeviceStream before = stream;
        stream = newStream;
        return before;
    }

    /** The capture that this thread is in, or null. */
    public @Nullable GraphCapture graphCapture() {
        return graphCapture;
    }

    void setGraphCapture(@Nullable GraphCapture capture) {
        graphCapture = capture;
    }

    /** Where this thread takes memory of a device from. */
    public CachingAllocator allocator(Device device) {
        CachingAllocator own = ownAllocator;
        return own != null && own.device() == device ? own : Backends.allocator(device);
    }

    @Nullable
    CachingAllocator ownAllocator() {
        return ownAllocator;
    }

    void setOwnAllocator(@Nullable CachingAllocator allocator) {
        ownAllocator = allocator;
    }

    /** The modes of this thread at this moment; the scope and the memory caches are not among them. */
    public Snapshot capture() {
        return new Snapshot(
                gradEnabled, inference, anomaly, active, mask, tracer, autocast, generator, savedTensorHooks, stream);
    }

    /** Sets all modes; returns those before, to be installed again. */
    public Snapshot install(Snapshot snapshot) {
        Snapshot before = capture();
        gradEnabled = snapshot.gradEnabled;
        inference = snapshot.inference;
        anomaly = snapshot.anomaly;
        active = snapshot.active;
        mask = snapshot.mask;
        tracer = snapshot.tracer;
        autocast = snapshot.autocast;
        generator = snapshot.generator;
        savedTensorHooks = snapshot.savedTensorHooks;
        stream = snapshot.stream;
        return before;
    }

    /** Modes to be carried to another thread, or to a later time. */
    public record Snapshot(
            boolean gradEnabled,
            boolean inference,
            boolean anomaly,
            int active,
            int mask,
            @Nullable Interceptor tracer,
            @Nullable Interceptor autocast,
            @Nullable Generator generator,
            @Nullable SavedTensorHooks savedTensorHooks,
            @Nullable DeviceStream stream) {
        /** The same modes with work on another stream. */
        public Snapshot on(@Nullable DeviceStream other) {
            return new Snapshot(
                    gradEnabled,
                    inference,
                    anomaly,
                    active,
                    mask,
                    tracer,
                    autocast,
                    generator,
                    savedTensorHooks,
                    other);
        }
    }
}
