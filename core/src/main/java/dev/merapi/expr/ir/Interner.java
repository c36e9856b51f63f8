// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import dev.merapi.expr.Expr;
import java.lang.ref.WeakReference;
import java.util.List;
import java.util.WeakHashMap;

/**
 * Keeps one object for each structure. Operands are interned before the node that holds them, so a comparison looks one
 * level deep; weak, so that expressions nobody holds go away.
 */
final class Interner {
    private static final WeakHashMap<Expr, WeakReference<Expr>> NODES = new WeakHashMap<>();

    private Interner() {}

    static Expr intern(Expr candidate) {
        synchronized (NODES) {
            WeakReference<Expr> known = NODES.get(candidate);
            Expr node = known == null ? null : known.get();
            if (node != null) {
                return node;
            }
            NODES.put(candidate, new WeakReference<>(candidate));
            return candidate;
        }
    }

    static boolean identical(List<Expr> a, List<Expr> b) {
        if (a.size() != b.size()) {
            return false;
        }
        for (int i = 0; i < a.size(); i++) {
            if (a.get(i) != b.get(i)) {
                return false;
            }
        }
        return true;
    }
}
