// SPDX-License-Identifier: Apache-2.0
//
// Memory as Java's buffers, for which JavaCPP would need a library of its own beside ours. Only what JavaCPP generates
// includes this.
#pragma once

#include <jni.h>

namespace merapi {
namespace abi {

inline jobject buffer_at(JNIEnv* env, jclass, jlong address, jlong bytes) {
    return env->NewDirectByteBuffer(reinterpret_cast<void*>(address), bytes);
}

inline jlong address_of(JNIEnv* env, jclass, jobject buffer) {
    return reinterpret_cast<jlong>(env->GetDirectBufferAddress(buffer));
}

}  // namespace abi
}  // namespace merapi
