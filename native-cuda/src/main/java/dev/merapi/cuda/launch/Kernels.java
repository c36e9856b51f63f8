// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.launch;

import dev.merapi.backend.Backend;
import dev.merapi.cuda.runtime.Arguments;
import dev.merapi.cuda.runtime.CudaException;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.cuda.runtime.KernelSource;
import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.GraphCapture;
import dev.merapi.error.ShapeException;
import dev.merapi.storage.Backstop;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.lang.ref.Reference;
import java.lang.ref.WeakReference;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Queue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ConcurrentMap;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * Sources to functions that run, each compiled and loaded once per device; and the launch.
 *
 * <p>Note [Modules]: ops hold the functions that they launch, a captured graph those that it repeats, and a function its
 * module. A module that nothing leads to any more is unloaded by the next thread that loads one: not by the collector's
 * thread, since it takes waiting for the device. So programs that make ops as they go keep as many modules as they use.
 */
public final class Kernels {
    /** What the kernels of every device take. */
    private static final int FEWEST_ARGUMENT_BYTES = 4000;

    private record Key(int device, String text) {}

    /** One that nothing leads to any more. */
    private record Gone(
            long handle, @Nullable Key key, @Nullable Reference<Loaded> known) {}

    /** What was loaded. */
    private static final class Loaded {
        private final long handle;
        private final ConcurrentMap<String, KernelFunction> functions = new ConcurrentHashMap<>();

        Loaded(long handle) {
            this.handle = handle;
        }

        @Override
        public String toString() {
            return "module " + handle;
        }
    }

    private static volatile @Nullable Function<Backend, Kernels> finder;

    private final CudaRuntime runtime;
    private final Device[] devices;
    private final ConcurrentMap<Key, Reference<Loaded>> modules = new ConcurrentHashMap<>();
    private final ConcurrentMap<Key, Object> loading = new ConcurrentHashMap<>();
    private final Queue<Loaded> prepared = new ConcurrentLinkedQueue<>();
    private final Queue<Gone> gone = new ConcurrentLinkedQueue<>();

    public Kernels(CudaRuntime runtime, DeviceType type) {
        this.runtime = runtime;
        this.devices = new Device[runtime.deviceCount()];
        Arrays.setAll(devices, i -> Device.of(type, i));
    }

    /**
     * Says how those of a backend are found: what backends are is known above here, and programs that know them do not know
     * us.
     */
    public static void findBy(Function<Backend, Kernels> how) {
        finder = how;
    }

    /**
     * Those that a backend stands on.
     *
     * @throws ClassCastException if it is none of CUDA's kind
     */
    public static Kernels of(Backend backend) {
        return Objects.requireNonNull(finder, "there is no backend yet").apply(backend);
    }

    public CudaRuntime runtime() {
        return runtime;
    }

    /** Whether a kernel that is launched now may run when the call is over: what it finds wrong is told later. */
    public boolean isLate() {
        return !runtime.waits() || Context.current().graphCapture() != null;
    }

    /** The function of that name in a source. Slow: who launches it again keeps it. */
    public KernelFunction function(int device, KernelSource source, String entry) {
        KernelSource unit = unit(source, entry);
        Key key = new Key(device, unit.text());
        Loaded module = known(key);
        KernelFunction function = module == null ? null : module.functions.get(entry);
        return function != null ? function : loaded(key, unit, entry);
    }

    private KernelSource unit(KernelSource source, String entry) {
        return runtime.compilesApart() ? source.only(entry) : source;
    }

    private @Nullable Loaded known(Key key) {
        Reference<Loaded> known = modules.get(key);
        return known == null ? null : known.get();
    }

    /** One thread compiles a source; those that want others do not wait for it. */
    private KernelFunction loaded(Key key, KernelSource unit, String entry) {
        unloadGone();
        Object lock = loading.computeIfAbsent(key, k -> new Object());
        synchronized (lock) {
            try {
                Loaded module = known(key);
                if (module == null) {
                    module = watched(runtime.load(key.device, unit), key);
                }
                return function(module, entry, entry);
            } finally {
                loading.remove(key, lock);
            }
        }
    }

    private KernelFunction function(Loaded module, String name, String entry) {
        return module.functions.computeIfAbsent(
                entry, e -> new KernelFunction(module, runtime.function(module.handle, name)));
    }

    private Loaded watched(long handle, @Nullable Key key) {
        Loaded module = new Loaded(handle);
        Reference<Loaded> known = key == null ? null : new WeakReference<>(module);
        if (key != null && known != null) {
            modules.put(key, known);
        }
        Queue<Gone> to = gone;
        Backstop.whenUnreachable(module, () -> to.add(new Gone(handle, key, known)));
        return module;
    }

    /** See Note [Modules]. Not during a capture, which what waits for the device has no place in. */
    private void unloadGone() {
        if (Context.current().graphCapture() != null) {
            return;
        }
        for (Gone g = gone.poll(); g != null; g = gone.poll()) {
            if (g.key != null && g.known != null) {
                modules.remove(g.key, g.known);
            }
            runtime.unload(g.handle);
        }
    }

    /** Compiles several sources in one go; that they are asked for one by one afterwards costs nothing then. They stay. */
    public void prepare(int device, String name, List<KernelSource> sources) {
        long handle = runtime.load(device, KernelSource.batch(name, sources));
        for (int i = 0; i < sources.size(); i++) {
            for (String entry : sources.get(i).entries()) {
                Loaded module = new Loaded(handle);
                function(module, KernelSource.entryInBatch(entry, i), entry);
                modules.put(new Key(device, unit(sources.get(i), entry).text()), new WeakReference<>(module));
                prepared.add(module);
            }
        }
    }

    /** A function of an image that was compiled elsewhere. */
    public KernelFunction image(String op, int device, byte[] image, String entry) {
        unloadGone();
        return function(watched(runtime.load(device, op, image), null), entry, entry);
    }

    /** The only function of a source. */
    public KernelFunction function(int device, KernelSource source) {
        return function(device, source, source.entries().get(0));
    }

    /** @throws CudaException naming the op, the kernel and the grid */
    public void launch(String op, int device, KernelFunction function, CudaRuntime.Grid grid, Arguments arguments) {
        if (arguments.bytes() > FEWEST_ARGUMENT_BYTES && arguments.bytes() > runtime.argumentBytes(device)) {
            throw new ShapeException(
                    op + ": its operands take " + arguments.bytes() + " bytes of arguments, but kernels of "
                            + "this device take " + runtime.argumentBytes(device)
                            + "\n  fix: fewer operands at once, or contiguous ones, which need no strides.");
        }
        Context context = Context.current();
        GraphCapture capture = context.graphCapture();
        if (capture != null) {
            capture.keep(function);
        }
        runtime.launch(device, context.stream(devices[device]), op, function.handle(), grid, arguments);
        Reference.reachabilityFence(function);
    }

    /** Blocks for so many threads' worth of work where each thread takes more by turns: enough to fill the device. */
    public CudaRuntime.Grid spread(int device, long work, int threads) {
        long blocks = Math.min(
                (work + threads - 1) / threads, 16L * runtime.properties(device).multiprocessors());
        return CudaRuntime.Grid.of(Math.max(1, blocks), threads);
    }
}
