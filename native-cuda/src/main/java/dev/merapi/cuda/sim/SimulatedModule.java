// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.sim;

import dev.merapi.cuda.host.CudaNative;
import dev.merapi.cuda.host.HostMemory;
import dev.merapi.cuda.runtime.Arguments;
import dev.merapi.cuda.runtime.CudaException;
import dev.merapi.cuda.runtime.KernelSource;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** A compiled source that is loaded, with or without checks of its accesses, and what its debug information tells. */
public final class SimulatedModule {
    private static final int MESSAGE = 512;
    private static final Pattern PLACEHOLDER = Pattern.compile("@([rv]?)(\\d+|0x[0-9a-f]+)@");

    /** A kernel of it. */
    record Function(SimulatedModule module, String name, long address) {}

    private final KernelSource source;
    private final boolean checked;
    private final Path image;
    private final long library;
    private final long bind;
    private final List<HostCompiler.Variable> variables;
    private final Map<String, Function> functions = new ConcurrentHashMap<>();
    private volatile @Nullable SimulatedModule twin;

    SimulatedModule(KernelSource source, boolean checked, Path image) {
        this.source = source;
        this.checked = checked;
        this.image = image;
        try (HostMemory path = HostMemory.text(image.toString());
                HostMemory error = HostMemory.allocate(MESSAGE)) {
            library = CudaNative.library_open(path.address(), error.address(), MESSAGE);
            if (library == 0) {
                throw new CudaException(
                        "cuda-sim: a compiled kernel cannot be loaded: " + error.text() + "\n  fix: delete " + image);
            }
        }
        bind = symbol("cudasim_bind");
        variables = checked ? HostCompiler.variables(image.toString()) : List.of();
    }

    KernelSource source() {
        return source;
    }

    boolean isChecked() {
        return checked;
    }

    long bind() {
        return bind;
    }

    List<HostCompiler.Variable> variables() {
        return variables;
    }

    /** The same source with checks, if this is without, and the other way round; null if nobody has asked for it yet. */
    @Nullable
    SimulatedModule twin() {
        return twin;
    }

    void setTwin(SimulatedModule other) {
        twin = other;
    }

    /** No function of it runs, nor will. */
    void close() {
        CudaNative.library_close(library);
        SimulatedModule other = twin;
        if (other != null) {
            CudaNative.library_close(other.library);
        }
    }

    Function function(String name) {
        return functions.computeIfAbsent(name, n -> new Function(this, n, symbol("cudasim_entry_" + n)));
    }

    private long symbol(String name) {
        try (HostMemory text = HostMemory.text(name)) {
            long address = CudaNative.library_symbol(library, text.address());
            if (address == 0) {
                throw new CudaException("cuda-sim: no " + name + " in a compiled kernel");
            }
            return address;
        }
    }

    /** Names of tensors and variables, and source lines, for the placeholders of the engine's message. */
    String explained(String said, List<Arguments.Region> regions) {
        return PLACEHOLDER.matcher(said).replaceAll(m -> {
            String text = switch (m.group(1)) {
                case "r" -> {
                    Arguments.Region r = regions.get(Integer.parseInt(m.group(2)));
                    yield r.name() + " (" + r.what() + ")";
                }
                case "v" -> variables.get(Integer.parseInt(m.group(2))).name();
                default -> line(HostCompiler.place(image.toString(), m.group(2)));
            };
            return Matcher.quoteReplacement(text);
        });
    }

    /** A place with the text that stands there. */
    private String line(@Nullable String place) {
        if (place == null) {
            return "an unknown line";
        }
        int colon = place.lastIndexOf(':');
        String text = place.substring(colon + 1).matches("\\d+")
                ? source.line(place.substring(0, colon), Integer.parseInt(place.substring(colon + 1)))
                : "";
        return text.isBlank() ? place : place + ": " + text.strip();
    }
}
