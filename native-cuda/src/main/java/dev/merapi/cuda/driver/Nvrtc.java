// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.driver;

import dev.merapi.cuda.host.CudaNative;
import dev.merapi.cuda.host.HostMemory;
import dev.merapi.cuda.runtime.CudaException;
import dev.merapi.cuda.runtime.KernelCompileException;
import dev.merapi.cuda.runtime.KernelSource;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** NVIDIA's run-time compiler. Needs its library, but neither a GPU nor a driver nor a toolkit. */
public final class Nvrtc implements NativeCuda.Compiler {
    public static final List<String> FUNCTIONS = List.of(
            "nvrtcCreateProgram",
            "nvrtcCompileProgram",
            "nvrtcGetCUBINSize",
            "nvrtcGetCUBIN",
            "nvrtcGetPTXSize",
            "nvrtcGetPTX",
            "nvrtcGetProgramLogSize",
            "nvrtcGetProgramLog",
            "nvrtcDestroyProgram",
            "nvrtcVersion",
            "nvrtcGetNumSupportedArchs",
            "nvrtcGetSupportedArchs");

    /** No contraction: a·b + c rounds twice, as on the CPU and in the simulator; fma() is there for those who want it. */
    private static final List<String> OPTIONS = List.of(
            "--std=c++17", "--fmad=false", "--diag-suppress=177"); // 177: a body need not use every name it is given

    /** Without the declarations of textures and the like, which takes a good part of a small kernel's time. */
    private static final List<String> QUICKLY = List.of("--minimal");

    private static final int MOST_ARCHITECTURES = 64;

    private static @Nullable Nvrtc instance;
    private static String reason = "";

    private final FunctionTable functions;
    private final int version;
    private final List<Integer> architectures = new ArrayList<>();
    /** Until it turns out that this version does not know {@link #QUICKLY}. */
    private volatile boolean quick = true;

    private Nvrtc(FunctionTable functions) {
        this.functions = functions;
        try (HostMemory result = HostMemory.allocate((1L + MOST_ARCHITECTURES) * Long.BYTES)) {
            int count = CudaNative.nvrtc_describe(functions.address(), result.address(), MOST_ARCHITECTURES);
            version = (int) result.buffer().getLong(0);
            for (int i = 1; i <= count; i++) {
                architectures.add((int) result.buffer().getLong(i * Long.BYTES));
            }
        }
    }

    /** {@code NVRTC 13.1 (file)} */
    @Override
    public String description() {
        return "NVRTC " + version / 1000 + "." + version % 1000 + " (" + functions.place() + ")";
    }

    /** 1000 · major + minor. */
    public int version() {
        return version;
    }

    /** Version and target: with another NVRTC the same source may become something else. */
    @Override
    public String fingerprint(int architecture) {
        return "NVRTC " + version + " " + target(architecture) + OPTIONS;
    }

    /** A cubin for the architecture itself; PTX for the newest one known, where the device is newer than NVRTC. */
    private String target(int architecture) {
        if (architectures.isEmpty() || architectures.contains(architecture)) {
            return "sm_" + architecture;
        }
        return "compute_"
                + architectures.stream()
                        .filter(known -> known <= architecture)
                        .max(Integer::compare)
                        .orElse(architecture);
    }

    /** Null if the library cannot be had; {@link #unavailableBecause} then lists where it was looked for. */
    public static synchronized @Nullable Nvrtc get() {
        if (instance == null && reason.isEmpty()) {
            List<String> tried = new ArrayList<>();
            long library = CudaLibraries.open(
                    List.of("libnvrtc-builtins.so"), List.of("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"), tried);
            if (library == 0) {
                reason = "NVRTC was not found\n  " + String.join("\n  ", tried);
            } else {
                bind(library);
            }
        }
        return instance;
    }

    private static void bind(long library) {
        try {
            instance = new Nvrtc(FunctionTable.of("NVRTC", library, FUNCTIONS));
        } catch (CudaException e) {
            reason = String.valueOf(e.getMessage());
        }
    }

    public static synchronized String unavailableBecause() {
        return reason;
    }

    /**
     * Compiles a source to a cubin.
     *
     * @param architecture 90 for compute capability 9.0
     * @throws KernelCompileException with the compiler's messages
     */
    @Override
    public byte[] compile(KernelSource source, int architecture) {
        return compile(source, architecture, List.of());
    }

    /** As above, with more options than all kernels are compiled with. */
    public byte[] compile(KernelSource source, int architecture, List<String> more) {
        if (quick) {
            List<String> all = new ArrayList<>(QUICKLY);
            all.addAll(more);
            try {
                return compileOnce(source, architecture, all);
            } catch (KernelCompileException e) {
                // It does not know the option, or the source needs what is missing.
                quick = !String.valueOf(e.getMessage()).contains(QUICKLY.get(0));
            }
        }
        return compileOnce(source, architecture, more);
    }

    private byte[] compileOnce(KernelSource source, int architecture, List<String> more) {
        String target = target(architecture);
        List<String> options = new ArrayList<>(OPTIONS);
        options.addAll(more);
        options.add("--gpu-architecture=" + target);
        List<HostMemory> texts = new ArrayList<>();
        try (HostMemory unit = HostMemory.text(source.unit());
                HostMemory name = HostMemory.text(source.name());
                HostMemory list = HostMemory.allocate(options.size() * (long) Long.BYTES);
                HostMemory result = HostMemory.allocate(4L * Long.BYTES)) {
            for (int i = 0; i < options.size(); i++) {
                HostMemory text = HostMemory.text(options.get(i));
                texts.add(text);
                list.buffer().putLong(i * Long.BYTES, text.address());
            }
            int status = CudaNative.nvrtc_compile(
                    functions.address(),
                    unit.address(),
                    name.address(),
                    list.address(),
                    options.size(),
                    target.startsWith("compute") ? 1 : 0,
                    result.address());
            byte[] image = take(result, 0);
            byte[] log = take(result, 2);
            if (status != 0) {
                throw new KernelCompileException("cuda: " + source.name() + " does not compile for " + target
                        + " (status " + status + " of " + description() + ")\n"
                        + source.explained(new String(log, java.nio.charset.StandardCharsets.UTF_8)
                                .replace("\0", "")
                                .strip()));
            }
            return image;
        } finally {
            texts.forEach(HostMemory::close);
        }
    }

    private static byte[] take(HostMemory result, int word) {
        long address = result.buffer().getLong(word * Long.BYTES);
        int size = (int) result.buffer().getLong((word + 1) * Long.BYTES);
        byte[] bytes = new byte[address == 0 ? 0 : size];
        if (address != 0) {
            HostMemory.view(address, size).get(0, bytes);
            CudaNative.memory_free(address);
        }
        return bytes;
    }
}
