// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import dev.merapi.cuda.runtime.Arguments;
import dev.merapi.cuda.runtime.CudaException;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.cuda.runtime.ImageCache;
import dev.merapi.cuda.runtime.IndexFaults;
import dev.merapi.cuda.runtime.KernelSource;
import dev.merapi.cuda.sim.SimulatedCuda;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Objects;

/**
 * A runtime like CUDA's that is not CUDA's, as one for AMD's GPUs would be: warps of 64 threads, definitions of its own
 * before each source, an image format and a cache of its own, no instructions for tiles and no library. It writes down what
 * it is asked for; the simulator's memory and threads are its hardware.
 */
final class WaveRuntime implements CudaRuntime {
    private static final String FORMAT = "WAVE IMAGE\n";

    /** Warps hold two groups, and an exchange is confined to one of them. */
    private static final String DEFINITIONS = """
            template <typename T>
            __device__ T wave_exchange(unsigned group, T value, int by) { return __shfl_xor_sync(group, value, by, 32); }
            #define __shfl_xor_sync(GROUP, VALUE, BY) wave_exchange(GROUP, VALUE, BY)
            """;

    private final SimulatedCuda hardware = Objects.requireNonNull(SimulatedCuda.create());
    private final ImageCache images = new ImageCache(".wave");
    private final int warp;
    private final List<String> log = Collections.synchronizedList(new ArrayList<>());

    WaveRuntime(int warp) {
        this.warp = warp;
    }

    /** What was asked for since the last time: {@code launch test::op}, {@code allocate}. */
    List<String> log() {
        List<String> all = List.copyOf(log);
        log.clear();
        return all;
    }

    int modules() {
        return hardware.modules();
    }

    // ---------------------------------------------------------------- its compiler

    static byte[] compiled(KernelSource source) {
        return (FORMAT + source.name() + "\n" + String.join(" ", source.entries()) + "\n" + DEFINITIONS + "#line 1 \""
                        + source.name() + "\"\n" + source.text())
                .getBytes(StandardCharsets.UTF_8);
    }

    private static KernelSource decoded(String op, byte[] image) {
        String text = new String(image, StandardCharsets.UTF_8);
        if (!text.startsWith(FORMAT)) {
            throw new CudaException(op + ": no wave image");
        }
        String[] parts = text.split("\n", 4);
        return new KernelSource(parts[1], parts[3], List.of(parts[2].split(" ")));
    }

    @Override
    public boolean compilesApart() {
        return true;
    }

    @Override
    public long load(int device, KernelSource source) {
        try {
            byte[] image = ImageCache.read(
                    images.get(List.of(DEFINITIONS, source.unit()), at -> Files.write(at, compiled(source))));
            return load(device, source.name(), image);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Override
    public long load(int device, String op, byte[] image) {
        KernelSource source = decoded(op, image);
        log.add("load " + op);
        return hardware.load(device, source);
    }

    @Override
    public long function(long module, String name) {
        return hardware.function(module, name);
    }

    @Override
    public void unload(long module) {
        log.add("unload");
        hardware.unload(module);
    }

    @Override
    public void launch(int device, long stream, String op, long function, Grid grid, Arguments arguments) {
        log.add("launch " + op);
        hardware.launch(device, stream, op, function, grid, arguments);
    }

    // ---------------------------------------------------------------- its hardware

    @Override
    public String description() {
        return "a wave machine";
    }

    @Override
    public int deviceCount() {
        return 1;
    }

    @Override
    public Properties properties(int device) {
        return new Properties("wave", "wave" + warp, 4, warp, false, 1L << 30);
    }

    @Override
    public long allocate(int device, long bytes) {
        log.add("allocate");
        return hardware.allocate(device, bytes);
    }

    @Override
    public void free(int device, long address) {
        hardware.free(device, address);
    }

    @Override
    public void upload(int device, long stream, long target, long host, long bytes) {
        log.add("upload");
        hardware.upload(device, stream, target, host, bytes);
    }

    @Override
    public void download(int device, long stream, long host, long source, long bytes) {
        log.add("download");
        hardware.download(device, stream, host, source, bytes);
    }

    @Override
    public void copy(int device, long stream, long target, long source, long bytes) {
        hardware.copy(device, stream, target, source, bytes);
    }

    @Override
    public void copy(
            int device, long stream, long target, int sourceDevice, long sourceStream, long source, long bytes) {
        hardware.copy(device, stream, target, source, bytes);
    }

    @Override
    public void fill(int device, long stream, long target, int value, long bytes) {
        hardware.fill(device, stream, target, value, bytes);
    }

    @Override
    public long createStream(int device) {
        return hardware.createStream(device);
    }

    @Override
    public void destroyStream(int device, long stream) {
        hardware.destroyStream(device, stream);
    }

    @Override
    public long createEvent(int device) {
        return hardware.createEvent(device);
    }

    @Override
    public void destroyEvent(int device, long event) {
        hardware.destroyEvent(device, event);
    }

    @Override
    public void record(int device, long event, long stream) {
        hardware.record(device, event, stream);
    }

    @Override
    public void await(int device, long stream, long event) {
        hardware.await(device, stream, event);
    }

    @Override
    public void synchronizeEvent(int device, long event) {
        hardware.synchronizeEvent(device, event);
    }

    @Override
    public void synchronizeStream(int device, long stream) {
        hardware.synchronizeStream(device, stream);
    }

    @Override
    public void synchronize(int device) {
        hardware.synchronize(device);
    }

    @Override
    public boolean waits() {
        return hardware.waits();
    }

    @Override
    public IndexFaults faults(int device) {
        return hardware.faults(device);
    }

    @Override
    public void beginCapture(int device, long stream) {
        log.add("capture");
        hardware.beginCapture(device, stream);
    }

    @Override
    public long endCapture(int device, long stream) {
        return hardware.endCapture(device, stream);
    }

    @Override
    public long nodes(int device, long graph) {
        return hardware.nodes(device, graph);
    }

    @Override
    public void launchGraph(int device, long graph, long stream) {
        log.add("replay");
        hardware.launchGraph(device, graph, stream);
    }

    @Override
    public void destroyGraph(int device, long graph) {
        hardware.destroyGraph(device, graph);
    }
}
