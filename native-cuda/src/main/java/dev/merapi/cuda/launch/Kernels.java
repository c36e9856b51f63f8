// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.launch;

import dev.merapi.cuda.runtime.Arguments;
import dev.merapi.cuda.runtime.CudaException;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.cuda.runtime.KernelSource;
import dev.merapi.dispatch.Context;
import dev.merapi.error.ShapeException;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.util.List;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;

/** Sources to functions that run, each compiled and loaded once per device; and the launch. */
public final class Kernels {
    /** What the kernels of every device take. */
    private static final int FEWEST_ARGUMENT_BYTES = 4000;

    private record Key(int device, String text, String entry) {}

    private final CudaRuntime runtime;
    private final Device[] devices;
    private final ConcurrentMap<Key, Long> functions = new ConcurrentHashMap<>();
    private final ConcurrentMap<Key, Long> modules = new ConcurrentHashMap<>();
    private final ConcurrentMap<Key, Object> compiling = new ConcurrentHashMap<>();

    public Kernels(CudaRuntime runtime, DeviceType type) {
        this.runtime = runtime;
        this.devices = new Device[runtime.deviceCount()];
        java.util.Arrays.setAll(devices, i -> Device.of(type, i));
    }

    public CudaRuntime runtime() {
        return runtime;
    }

    /** Whether a kernel that is launched now may run when the call is over: what it finds wrong is told later. */
    public boolean isLate() {
        return !runtime.waits() || Context.current().graphCapture() != null;
    }

    /** The function of that name in a source. */
    public long function(int device, KernelSource source, String entry) {
        Key key = new Key(device, source.text(), entry);
        Long known = functions.get(key);
        return known != null ? known : compiled(key, runtime.compilesApart() ? source.only(entry) : source);
    }

    /** One thread compiles a source; those that want others do not wait for it. */
    private long compiled(Key key, KernelSource source) {
        Key whole = new Key(key.device, source.text(), "");
        synchronized (compiling.computeIfAbsent(whole, w -> new Object())) {
            Long function = functions.get(key);
            if (function == null) {
                Long module = modules.get(whole);
                if (module == null) {
                    module = runtime.load(key.device, runtime.compile(key.device, source));
                    modules.put(whole, module);
                }
                function = runtime.function(module, key.entry);
                functions.put(key, function);
            }
            return function;
        }
    }

    /** Compiles several sources in one go; that they are asked for one by one afterwards costs nothing then. */
    public void prepare(int device, String name, List<KernelSource> sources) {
        long module = runtime.load(device, runtime.compile(device, KernelSource.batch(name, sources)));
        for (int i = 0; i < sources.size(); i++) {
            for (String entry : sources.get(i).entries()) {
                long function = runtime.function(module, KernelSource.entryInBatch(entry, i));
                functions.put(new Key(device, sources.get(i).text(), entry), function);
            }
        }
    }

    /** A function of an image that was compiled elsewhere. */
    public long image(String op, int device, byte[] image, String entry) {
        return runtime.function(runtime.load(device, runtime.keep(op, image)), entry);
    }

    /** The only function of a source. */
    public long function(int device, KernelSource source) {
        return function(device, source, source.entries().get(0));
    }

    /** @throws CudaException naming the op, the kernel and the grid */
    public void launch(String op, int device, long function, CudaRuntime.Grid grid, Arguments arguments) {
        if (arguments.bytes() > FEWEST_ARGUMENT_BYTES && arguments.bytes() > runtime.argumentBytes(device)) {
            throw new ShapeException(
                    op + ": its operands take " + arguments.bytes() + " bytes of arguments, but kernels of "
                            + "this device take " + runtime.argumentBytes(device)
                            + "\n  fix: fewer operands at once, or contiguous ones, which need no strides.");
        }
        runtime.launch(device, Context.current().stream(devices[device]), op, function, grid, arguments);
    }

    /** Blocks for so many threads' worth of work where each thread takes more by turns: enough to fill the device. */
    public CudaRuntime.Grid spread(int device, long work, int threads) {
        long blocks = Math.min(
                (work + threads - 1) / threads, 16L * runtime.properties(device).multiprocessors());
        return CudaRuntime.Grid.of(Math.max(1, blocks), threads);
    }
}
