// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** NVIDIA's run-time compiler. Needs its library, but neither a GPU nor a driver nor a toolkit. */
final class Nvrtc {
    private static final Logger LOG = LoggerFactory.getLogger("dev.merapi");
    private static final List<String> FUNCTIONS = List.of(
            "nvrtcCreateProgram",
            "nvrtcCompileProgram",
            "nvrtcGetCUBINSize",
            "nvrtcGetCUBIN",
            "nvrtcGetPTXSize",
            "nvrtcGetPTX",
            "nvrtcGetProgramLogSize",
            "nvrtcGetProgramLog",
            "nvrtcDestroyProgram");

    private static @Nullable Nvrtc instance;
    private static String reason = "";

    private final HostMemory functions;

    private Nvrtc(HostMemory functions) {
        this.functions = functions;
    }

    /** Null if the library cannot be had; {@link #unavailableBecause} then lists where it was looked for. */
    static synchronized @Nullable Nvrtc get() {
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
        HostMemory table = HostMemory.allocate(FUNCTIONS.size() * Long.BYTES);
        for (int i = 0; i < FUNCTIONS.size(); i++) {
            try (HostMemory name = HostMemory.text(FUNCTIONS.get(i))) {
                long address = CudaNative.library_symbol(library, name.address());
                if (address == 0) {
                    reason = "NVRTC was found, but has no " + FUNCTIONS.get(i);
                    table.close();
                    return;
                }
                table.buffer().putLong(i * Long.BYTES, address);
            }
        }
        instance = new Nvrtc(table);
        LOG.debug("cuda: NVRTC loaded");
    }

    static synchronized String unavailableBecause() {
        return reason;
    }

    /**
     * Compiles a source to a cubin.
     *
     * @param architecture 90 for compute capability 9.0
     * @throws KernelCompileException with the compiler's messages
     */
    byte[] compile(KernelSource source, int architecture) {
        // No contraction: a·b + c rounds twice, as on the CPU and in the simulator; fma() is there for those who want
        // it.
        List<String> options = List.of("--gpu-architecture=sm_" + architecture, "--std=c++17", "--fmad=false");
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
                    0,
                    result.address());
            byte[] image = take(result, 0);
            byte[] log = take(result, 2);
            if (status != 0) {
                throw new KernelCompileException("cuda: " + source.name() + " does not compile for sm_" + architecture
                        + " (NVRTC status " + status + ")\n"
                        + new String(log, java.nio.charset.StandardCharsets.UTF_8)
                                .replace("\0", "")
                                .strip());
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
