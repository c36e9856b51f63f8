// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import dev.merapi.ops.code.PointwiseCode;
import dev.merapi.ops.code.ReduceCode;
import dev.merapi.ops.code.StepCode;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import org.jspecify.annotations.Nullable;

/** The native programs of one op, for what its operands were so far. They are released when the op is unreachable. */
final class Programs {
    private final ConcurrentMap<Object, NativeProgram> known = new ConcurrentHashMap<>();
    private volatile @Nullable NativeProgram last;

    NativeProgram of(PointwiseCode.Specialized s) {
        NativeProgram p = last;
        return p != null && p.source == s ? p : find(s, s.program().text(), false);
    }

    NativeProgram of(StepCode.Specialized s) {
        NativeProgram p = last;
        return p != null && p.source == s ? p : find(s, s.program().text(), false);
    }

    NativeProgram of(ReduceCode.Specialized s) {
        NativeProgram p = last;
        return p != null && p.source == s ? p : find(s, s.text(), true);
    }

    private NativeProgram find(Object source, String text, boolean reduction) {
        NativeProgram p = known.computeIfAbsent(source, s -> new NativeProgram(s, text, reduction));
        last = p;
        return p;
    }
}
