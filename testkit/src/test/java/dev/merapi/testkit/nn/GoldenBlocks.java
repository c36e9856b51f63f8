// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.nn;

import dev.merapi.io.Safetensors;
import dev.merapi.nn.Block;
import dev.merapi.state.StateDict;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.zip.GZIPInputStream;

/** What {@code blocks.py} wrote, case by case. */
final class GoldenBlocks {
    private final Map<String, Map<String, Tensor>> cases = new TreeMap<>();

    private GoldenBlocks() {}

    static GoldenBlocks read() {
        GoldenBlocks all = new GoldenBlocks();
        try (InputStream in = GoldenBlocks.class.getResourceAsStream("blocks.safetensors.gz")) {
            Path file = Files.createTempFile("blocks", ".safetensors");
            Files.copy(new GZIPInputStream(Objects.requireNonNull(in)), file, StandardCopyOption.REPLACE_EXISTING);
            Safetensors.load(file).forEach((name, t) -> {
                int bar = name.indexOf('|');
                all.cases
                        .computeIfAbsent(name.substring(0, bar), n -> new LinkedHashMap<>())
                        .put(name.substring(bar + 1), t.leaveScope());
            });
            Files.delete(file);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return all;
    }

    List<String> names() {
        return List.copyOf(cases.keySet());
    }

    /** The name in {@link BlockTable}. */
    static String module(String name) {
        return name.endsWith(" eval") ? name.substring(0, name.length() - 5) : name;
    }

    /** Under a part such as {@code state}, by the rest of their names. */
    Map<String, Tensor> part(String name, String part) {
        Map<String, Tensor> found = new LinkedHashMap<>();
        Objects.requireNonNull(cases.get(name), name).forEach((n, t) -> {
            if (n.startsWith(part + "|")) {
                found.put(n.substring(part.length() + 1), t);
            }
        });
        return found;
    }

    /** The block with the state of the case, in float64, in its mode. */
    Block make(String name) {
        Block block = Objects.requireNonNull(BlockTable.all().get(module(name)), name)
                .make()
                .get();
        block.to(DType.FLOAT64);
        block.loadStateDict(StateDict.of(part(name, "state")));
        block.train(!name.endsWith(" eval"));
        return block;
    }

    Tensor call(String name, Block block, List<Tensor> in) {
        return Objects.requireNonNull(BlockTable.all().get(module(name)), name)
                .call()
                .of(block, in);
    }

    /** New leaves, of which those that PyTorch has a gradient of require one. */
    List<Tensor> inputs(String name) {
        Map<String, Tensor> in = part(name, "in");
        Map<String, Tensor> grads = part(name, "grad");
        List<Tensor> all = new ArrayList<>();
        for (int i = 0; i < in.size(); i++) {
            Tensor t = Objects.requireNonNull(in.get(String.valueOf(i)));
            Tensor given = t.dtype() == DType.UINT8 ? t.to(DType.BOOL) : t.copy();
            all.add(grads.containsKey(String.valueOf(i)) ? given.requiresGrad(true) : given);
        }
        return all;
    }

    /** What {@code blocks.py} goes back from. */
    static Tensor loss(Tensor y) {
        Tensor weights = Tensor.arange(1, y.numel() + 1.0, 1, DType.FLOAT64, y.device())
                .div(Math.max(1, y.numel()))
                .to(y.dtype());
        return y.mul(weights.view(y.shape().toArray())).sum();
    }
}
