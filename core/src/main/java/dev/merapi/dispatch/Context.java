// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

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
    private LayerStack layers = CHECKED_BY_DEFAULT ? LayerStack.PLAIN.withChecks(CheckedMode.LAYER) : LayerStack.PLAIN;
    /** Where calls of this thread start: the layers above this index are passed over. */
    private int level = LayerOrder.ALL;
    /** Calls of layers above autograd, or of such as were pushed below it, in progress. */
    private int inLayers;

    private boolean autocastPaused;
    private @Nullable Scope scope;
    private @Nullable Generator generator;
    private @Nullable Object savedTensorHooks;
    private @Nullable Object backwardPass;
    private @Nullable WorkStream stream;
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

    /** Whether calls on tensors that require gradients are recorded: never in inference mode, whatever else is on. */
    public boolean isGradEnabled() {
        return gradEnabled && !inference;
    }

    /** Returns what is to be set again, which is not what {@link #isGradEnabled} said in inference mode. */
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
        return layers.checks() != null;
    }

    /** Whether writes in place remember where they were called from. */
    public boolean remembersWrites() {
        return anomaly || isChecked();
    }

    public boolean setChecked(boolean on) {
        boolean before = isChecked();
        layers = layers.withChecks(on ? CheckedMode.LAYER : null);
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

    // ---------------------------------------------------------------- layers

    LayerStack layers() {
        return layers;
    }

    void setLayers(LayerStack newLayers) {
        layers = newLayers;
    }

    /** Where calls start: at this index of the layers, or at the outermost one. */
    int level() {
        return level;
    }

    /** Sets where calls start; returns what is to be set again. */
    int setLevel(int newLevel) {
        int before = level;
        level = newLevel;
        return before;
    }

    /** Sets where calls start again, after one of the methods here that say so. */
    public void restoreLevel(int before) {
        level = before;
    }

    /** Whether calls come by autograd: not so within kernels. */
    public boolean isAboveAutograd() {
        return level >= layers.autograd();
    }

    /** Calls start below autograd from now on, as within a kernel; returns the level to be restored. */
    public int descendBelowAutograd() {
        return setLevel(Math.min(level, layers.autograd() - 1));
    }

    /** Calls start at autograd from now on, wherever they did; returns the level to be restored. */
    public int startAtAutograd() {
        return setLevel(layers.autograd());
    }

    /** Calls start at autograd at least from now on, also within a kernel; returns the level to be restored. */
    public int ascendToAutograd() {
        return setLevel(Math.max(level, layers.autograd()));
    }

    /** The outermost layer of a class on this thread, active or not; null if there is none. */
    public <L extends CallLayer> @Nullable L layer(Class<L> type) {
        for (int i = layers.top(); i > layers.autograd(); i--) {
            if (type.isInstance(layers.get(i))) {
                return type.cast(layers.get(i));
            }
        }
        return null;
    }

    /** Who is told of work on this thread that is no call of an op; null for nobody. */
    public @Nullable Observer observer() {
        return layers.top() > layers.autograd() ? layer(Observer.class) : null;
    }

    /** Calls start at a layer of this thread at least, which so sees those that it makes; returns the level to be restored. */
    public int startAt(CallLayer layer) {
        int index = layers.top();
        while (index > layers.autograd() && layers.get(index) != layer) {
            index--;
        }
        return setLevel(Math.max(level, index));
    }

    void enterLayer() {
        inLayers++;
    }

    void leaveLayer() {
        inLayers--;
    }

    /** How many calls of layers are in progress, one inside the other. */
    int depth() {
        return inLayers;
    }

    boolean isInLayer() {
        return inLayers > 0;
    }

    /** What stands at the place of autocast, or null. */
    public @Nullable CallLayer autocast() {
        return layers.autocast();
    }

    /** Puts a layer at the place of autocast, or takes it away; returns the one before. */
    public @Nullable CallLayer setAutocast(@Nullable CallLayer newAutocast) {
        CallLayer before = layers.autocast();
        layers = layers.withAutocast(newAutocast);
        return before;
    }

    /** Whether autocast lets all calls pass: in a backward pass, and in the parts of an op whose arguments it converted. */
    public boolean isAutocastPaused() {
        return autocastPaused;
    }

    public boolean setAutocastPaused(boolean paused) {
        boolean before = autocastPaused;
        autocastPaused = paused;
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

    /** The hooks for saved tensors, which only autograd knows how to read; null for none. */
    public @Nullable Object savedTensorHooks() {
        return savedTensorHooks;
    }

    public @Nullable Object setSavedTensorHooks(@Nullable Object hooks) {
        Object before = savedTensorHooks;
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
    public @Nullable WorkStream stream() {
        return stream;
    }

    /** The handle of the stream that this thread's work on a device goes to. */
    public long stream(Device device) {
        WorkStream s = stream;
        return s != null && s.device() == device && s.isOpen() ? s.handle() : 0;
    }

    @Nullable
    WorkStream setStream(@Nullable WorkStream newStream) {
        WorkStream before = stream;
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
        return own != null && own.device() == device ? own : BackendChoice.allocator(device);
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
                gradEnabled, inference, anomaly, layers, level, autocastPaused, generator, savedTensorHooks, stream);
    }

    /** Sets all modes; returns those before, to be installed again. */
    public Snapshot install(Snapshot snapshot) {
        Snapshot before = capture();
        gradEnabled = snapshot.gradEnabled;
        inference = snapshot.inference;
        anomaly = snapshot.anomaly;
        layers = snapshot.layers;
        level = snapshot.level;
        autocastPaused = snapshot.autocastPaused;
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
            LayerStack layers,
            int level,
            boolean autocastPaused,
            @Nullable Generator generator,
            @Nullable Object savedTensorHooks,
            @Nullable WorkStream stream) {
        /** The same modes with work on another stream. */
        public Snapshot on(@Nullable WorkStream other) {
            return new Snapshot(
                    gradEnabled, inference, anomaly, layers, level, autocastPaused, generator, savedTensorHooks, other);
        }

        /** Whether calls go through the same layers, from the same one on. */
        public boolean sameLayers(Snapshot other) {
            return layers.equals(other.layers) && level == other.level && autocastPaused == other.autocastPaused;
        }

        /** Recording as here, and nothing else: for a thread that shall do as a fresh one does. */
        public Snapshot plain() {
            return new Snapshot(
                    gradEnabled, inference, false, LayerStack.PLAIN, LayerOrder.ALL, false, null, null, null);
        }
    }
}
