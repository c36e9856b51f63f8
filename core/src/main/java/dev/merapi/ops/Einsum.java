// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.dispatch.Composition;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;

/**
 * Sums of products by the names of dimensions, as products of matrices. Of several operands those two come first whose
 * product takes the fewest multiplications.
 *
 * <p>A dimension is an {@code int}: the letter that names it, or, of those that {@code ...} stands for, a negative number that
 * counts from the last one, which is −1.
 */
public final class Einsum {
    private Einsum() {}

    /** An operand with the names of its dimensions, each once. */
    private record Named(Tensor tensor, List<Integer> names) {
        long size(int name) {
            int d = names.indexOf(name);
            return d < 0 ? 1 : tensor.size(d);
        }
    }

    /**
     * {@code "bik,bkj->bij"}: each operand's dimensions by letters, then those of the result, over the others of which is
     * summed. A letter twice in an operand is its diagonal; {@code ...} stands for any further dimensions, which broadcast.
     * Without an arrow the result has those of {@code ...}, and the letters that are there once, in alphabetical order.
     *
     * @param equation letters for dimensions, upper and lower case; spaces do not count
     * @param operands one for each term; all of one dtype where two are multiplied
     * @return a tensor with the dimensions that the equation gives it, which may be a view of a single operand
     * @throws ShapeException if the equation is none, or does not fit the operands
     */
    public static Tensor einsum(String equation, List<Tensor> operands) {
        Objects.requireNonNull(equation, "equation");
        Objects.requireNonNull(operands, "operands");
        operands.forEach(t -> Objects.requireNonNull(t, "operands"));
        return Composition.of("merapi::einsum", () -> sumOfProducts(equation, operands));
    }

    private static Tensor sumOfProducts(String equation, List<Tensor> operands) {
        String text = equation.replace(" ", "");
        int arrow = text.indexOf("->");
        String[] terms = (arrow < 0 ? text : text.substring(0, arrow)).split(",", -1);
        if (terms.length != operands.size() || operands.isEmpty()) {
            throw wrong(equation, terms.length + " terms for " + operands.size() + " operands", operands);
        }
        List<Named> named = new ArrayList<>();
        Map<Integer, Integer> uses = new TreeMap<>();
        for (int i = 0; i < terms.length; i++) {
            List<Integer> names = names(equation, terms[i], operands.get(i).rank(), operands);
            names.forEach(n -> uses.merge(n, 1, Integer::sum));
            named.add(diagonals(equation, operands.get(i), names, operands));
        }
        broadcast(equation, named, operands);
        List<Integer> result;
        if (arrow >= 0) {
            long rest = uses.keySet().stream().filter(n -> n < 0).count();
            String output = text.substring(arrow + 2);
            result = output.contains("...")
                    ? names(equation, output, (int) rest + output.length() - 3, operands)
                    : names(equation, output, output.length(), operands);
            for (int n : result) {
                if (!uses.containsKey(n) || result.indexOf(n) != result.lastIndexOf(n)) {
                    throw wrong(
                            equation, "the result has '" + (char) n + "', which no operand has, or twice", operands);
                }
            }
        } else {
            result = uses.entrySet().stream()
                    .filter(e -> e.getKey() < 0 || e.getValue() == 1)
                    .map(Map.Entry::getKey)
                    .toList();
        }
        while (named.size() > 1) {
            int[] pair = cheapest(named, result);
            Named b = named.remove(pair[1]);
            Named a = named.remove(pair[0]);
            named.add(product(a, b, kept(named, result)));
        }
        Named last = summed(named.get(0), result);
        int[] order = result.stream().mapToInt(last.names()::indexOf).toArray();
        return last.tensor().permute(order);
    }

    private static ShapeException wrong(String equation, String what, List<Tensor> operands) {
        Message m = Message.of("merapi::einsum", what).fact("equation", equation);
        for (int i = 0; i < operands.size(); i++) {
            m.fact("operand " + i, operands.get(i).describe());
        }
        return new ShapeException(m.fix("one letter for each dimension, as in \"bik,bkj->bij\"."));
    }

    private static List<Integer> names(String equation, String term, int rank, List<Tensor> operands) {
        List<Integer> names = new ArrayList<>();
        boolean ellipsis = false;
        for (int i = 0; i < term.length(); i++) {
            char c = term.charAt(i);
            if (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z') {
                names.add((int) c);
            } else if (!ellipsis && term.startsWith("...", i)) {
                ellipsis = true;
                for (int k = rank - (term.length() - 3); k > 0; k--) {
                    names.add(-k);
                }
                i += 2;
            } else {
                throw wrong(equation, "'" + term + "' is no list of letters, with ... once at most", operands);
            }
        }
        if (names.size() != rank) {
            throw wrong(equation, "'" + term + "' names " + names.size() + " dimensions of " + rank, operands);
        }
        return names;
    }

    private static Named diagonals(String equation, Tensor t, List<Integer> names, List<Tensor> operands) {
        Tensor x = t;
        List<Integer> left = new ArrayList<>(names);
        for (int i = 0; i < left.size(); i++) {
            int name = left.get(i);
            int second = left.lastIndexOf(name);
            while (second > i) {
                if (x.size(i) != x.size(second)) {
                    throw wrong(
                            equation,
                            "'" + (char) name + "' is " + x.size(i) + " and " + x.size(second) + " in one operand",
                            operands);
                }
                x = x.diagonal(0, i, second).moveDim(-1, i);
                left.remove(second);
                second = left.lastIndexOf(name);
            }
        }
        return new Named(x, left);
    }

    /** A size of 1 becomes that of the others of its name. */
    private static void broadcast(String equation, List<Named> named, List<Tensor> operands) {
        Map<Integer, Long> sizes = new LinkedHashMap<>();
        for (Named n : named) {
            for (int name : n.names()) {
                long size = n.size(name);
                long before = sizes.getOrDefault(name, 1L);
                if (size != 1 && before != 1 && size != before) {
                    throw wrong(
                            equation,
                            (name < 0 ? "a dimension of ..." : "'" + (char) name + "'") + " is " + before + " and "
                                    + size,
                            operands);
                }
                sizes.put(name, size == 1 ? before : size);
            }
        }
        named.replaceAll(n -> {
            long[] wanted = n.names().stream().mapToLong(sizes::get).toArray();
            return new Named(n.tensor().expand(wanted), n.names());
        });
    }

    // ---------------------------------------------------------------- products

    private static List<Integer> kept(List<Named> others, List<Integer> result) {
        List<Integer> kept = new ArrayList<>(result);
        others.forEach(o -> kept.addAll(o.names()));
        return kept;
    }

    private static int[] cheapest(List<Named> named, List<Integer> result) {
        int[] best = {0, 1};
        double least = Double.POSITIVE_INFINITY;
        double smallest = Double.POSITIVE_INFINITY;
        for (int i = 0; named.size() > 2 && i < named.size(); i++) {
            for (int k = i + 1; k < named.size(); k++) {
                List<Named> others = new ArrayList<>(named);
                others.remove(k);
                others.remove(i);
                List<Integer> kept = kept(others, result);
                double work = 1;
                double size = 1;
                List<Integer> all = new ArrayList<>(named.get(i).names());
                named.get(k).names().stream().filter(n -> !all.contains(n)).forEach(all::add);
                for (int name : all) {
                    long n = Math.max(named.get(i).size(name), named.get(k).size(name));
                    work *= n;
                    size *= kept.contains(name) ? n : 1;
                }
                if (work < least || work == least && size < smallest) {
                    best = new int[] {i, k};
                    least = work;
                    smallest = size;
                }
            }
        }
        return best;
    }

    private static Named summed(Named x, List<Integer> kept) {
        int[] gone = x.names().stream()
                .filter(n -> !kept.contains(n))
                .mapToInt(x.names()::indexOf)
                .toArray();
        if (gone.length == 0) {
            return x;
        }
        List<Integer> left = x.names().stream().filter(kept::contains).toList();
        return new Named(x.tensor().sum(gone, false, x.tensor().dtype()), left);
    }

    private static Named product(Named first, Named second, List<Integer> kept) {
        List<Integer> ofA = new ArrayList<>(kept);
        ofA.addAll(second.names());
        Named a = summed(first, ofA);
        List<Integer> ofB = new ArrayList<>(kept);
        ofB.addAll(a.names());
        Named b = summed(second, ofB);
        List<Integer> batch = new ArrayList<>();
        List<Integer> inner = new ArrayList<>();
        List<Integer> rows = new ArrayList<>();
        for (int n : a.names()) {
            (!b.names().contains(n) ? rows : kept.contains(n) ? batch : inner).add(n);
        }
        List<Integer> columns =
                b.names().stream().filter(n -> !a.names().contains(n)).toList();
        List<Integer> all = new ArrayList<>(batch);
        all.addAll(rows);
        all.addAll(columns);
        long[] sizes = all.stream()
                .mapToLong(n -> a.names().contains(n) ? a.size(n) : b.size(n))
                .toArray();
        LinearAlgebra.requireSame("einsum", a.tensor(), "an operand", b.tensor(), "another");
        Tensor out;
        if (inner.isEmpty()) {
            Tensor left = grouped(a, batch, rows, inner);
            Tensor right = grouped(b, batch, inner, columns);
            out = left.mul(right);
        } else {
            out = grouped(a, batch, rows, inner).bmm(grouped(b, batch, inner, columns));
        }
        return new Named(out.reshape(sizes), all);
    }

    /** [batch, rows, columns], each of several dimensions. */
    private static Tensor grouped(Named x, List<Integer> batch, List<Integer> rows, List<Integer> columns) {
        List<Integer> order = new ArrayList<>(batch);
        order.addAll(rows);
        order.addAll(columns);
        long[] sizes = {product(x, batch), product(x, rows), product(x, columns)};
        return x.tensor()
                .permute(order.stream().mapToInt(x.names()::indexOf).toArray())
                .reshape(sizes);
    }

    private static long product(Named x, List<Integer> names) {
        long n = 1;
        for (int name : names) {
            n *= x.size(name);
        }
        return n;
    }
}
