// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.types.DType;

/** Prints the kernel around a body that somebody wrote: signature, index and tail, with the user's lines as line 1, 2, …. */
final class BodyPrinter {
    static final int MAX_RANK = 8;

    private static final String VIEWS = """
            // A tensor as bodies see it; each field is 8 bytes.
            template <class T, bool Dense>
            struct View {
                T* data;
                long long numel, rank;
                struct { long long size, stride; } dims[8];
                MERAPI_F long long size(int d) const { return dims[d < 0 ? d + (int)rank : d].size; }
                MERAPI_F explicit operator bool() const { return data != nullptr; }
                MERAPI_F T* at(long long i) const {
                    if (Dense) return data + i;
                    long long offset = 0;
                    for (int d = (int)rank - 1; d >= 0; d--) {
                        offset += i % dims[d].size * dims[d].stride;
                        i /= dims[d].size;
                    }
                    return data + offset;
                }
            };
            template <class T, bool Dense>
            struct Input : View<T, Dense> {
                MERAPI_F auto operator[](long long i) const { return merapi::rd(*this->at(i)); }
            };
            template <class T>
            struct Element {
                typedef decltype(merapi::rd(T())) Value;
                T* p;
                MERAPI_F operator Value() const { return merapi::rd(*p); }
                MERAPI_F const Element& operator=(Value v) const { merapi::wr(*p, v); return *this; }
                MERAPI_F const Element& operator=(const Element& e) const { return *this = (Value)e; }
                MERAPI_F const Element& operator+=(Value v) const { return *this = (Value)*this + v; }
                MERAPI_F const Element& operator-=(Value v) const { return *this = (Value)*this - v; }
                MERAPI_F const Element& operator*=(Value v) const { return *this = (Value)*this * v; }
                MERAPI_F const Element& operator/=(Value v) const { return *this = (Value)*this / v; }
            };
            template <class T, bool Dense>
            struct Output : View<T, Dense> {
                MERAPI_F Element<T> operator[](long long i) const { return Element<T>{this->at(i)}; }
            };
            """;

    private final String op;
    private final String statements;
    private final String real;
    private final StringBuilder fields = new StringBuilder();
    private final StringBuilder locals = new StringBuilder();

    /** @param real what floating scalars are given as */
    BodyPrinter(String op, String statements, DType real) {
        this.op = op;
        this.statements = statements;
        this.real = real == DType.FLOAT32 ? "float" : "double";
    }

    void tensor(String name, dev.merapi.tensor.Tensor t, boolean written) {
        if (t.rank() > MAX_RANK) {
            throw new dev.merapi.error.ShapeException(op + ": argument " + name + " has rank " + t.rank()
                    + "; a kernel body takes tensors of rank " + MAX_RANK + " at most\n  fix: reshape it.");
        }
        field(written ? "Output" : "Input", CudaTypes.storage(t.dtype()), name, t.isContiguous());
    }

    /** An optional tensor that is not there: its view is false. */
    void absent(String name) {
        field("Input", "float", name, true);
    }

    private void field(String kind, String storage, String name, boolean dense) {
        fields.append("    ")
                .append(kind)
                .append('<')
                .append(storage)
                .append(", ")
                .append(dense)
                .append("> ");
        fields.append(name).append(";\n");
        locals.append("    const auto& ")
                .append(name)
                .append(" = a.")
                .append(name)
                .append(";\n");
    }

    void scalar(String name, Object value) {
        boolean floating = value instanceof Double || value instanceof Float;
        fields.append("    ")
                .append(floating ? "double " : "long long ")
                .append(name)
                .append(";\n");
        String type = floating ? real : value instanceof Boolean ? "bool" : value instanceof Long ? "long long" : "int";
        locals.append("    const ")
                .append(type)
                .append(' ')
                .append(name)
                .append(" = (")
                .append(type)
                .append(")a.");
        locals.append(name).append(";\n");
    }

    String text() {
        return "#line 1 \"" + KernelSource.GENERATED + "\"\n" + VIEWS + "struct Arguments {\n" + fields
                + "    long long element_count;\n};\n"
                + "extern \"C\" __global__ void __launch_bounds__(256) body(const Arguments a) {\n" + locals
                + "    const long long n = a.element_count;\n"
                + "    auto element = [&](const long long i) {\n#line 1 \"" + op + " (body)\"\n" + statements
                + "\n#line 1000 \"" + KernelSource.GENERATED + "\"\n    };\n"
                + "    for (long long i = blockIdx.x * 256ll + threadIdx.x; i < n; i += gridDim.x * 256ll) element(i);\n"
                + "}\n";
    }
}
