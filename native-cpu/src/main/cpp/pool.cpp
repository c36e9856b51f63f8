// SPDX-License-Identifier: Apache-2.0
#include "pool.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#if !defined(_WIN32)
#include <pthread.h>
#include <signal.h>
#endif

namespace merapi {
namespace {

// How long a thread polls before it parks. Long enough to bridge the gap between two ops of one model, short enough
// that an idle pool costs nothing on a machine shared with others.
constexpr int64_t kSpinNanos = 50000;
constexpr int kMaxThreads = 1024;

int within_bounds(int threads) { return threads < 1 ? 1 : (threads > kMaxThreads ? kMaxThreads : threads); }

inline void pause_cpu() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

int64_t now_nanos() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

template <class Done>
bool spin_until(Done done) {
    int64_t deadline = 0;
    for (;;) {
        for (int i = 0; i < 32; i++) {
            if (done()) return true;
            pause_cpu();
        }
        int64_t now = now_nanos();
        if (deadline == 0) {
            deadline = now + kSpinNanos;
        } else if (now > deadline) {
            return false;
        }
    }
}

thread_local bool inside_region = false;

struct Job {
    ChunkFn fn;
    void* context;
    int64_t n;
    int64_t grain;
    std::atomic<int64_t> next{0};
    int helpers_wanted;  // guarded by Pool::mutex
    std::atomic_flag failed = ATOMIC_FLAG_INIT;
    std::exception_ptr error;  // the first; written by whoever set `failed`, read when nobody works any more

    void work() {
        bool outer = inside_region;
        inside_region = true;
        for (;;) {
            int64_t begin = next.fetch_add(grain, std::memory_order_relaxed);
            if (begin >= n) break;
            int64_t end = n - begin < grain ? n : begin + grain;
            try {
                fn(context, begin, end);
            } catch (...) {
                if (!failed.test_and_set()) error = std::current_exception();
                next.store(n, std::memory_order_relaxed);  // the rest would be for nothing
            }
        }
        inside_region = outer;
    }

    // When all are done.
    void rethrow() const {
        if (error != nullptr) std::rethrow_exception(error);
    }
};

struct Pool {
    std::mutex exclusive;  // held by the one caller whose job the workers serve

    std::mutex mutex;
    std::condition_variable wake;
    std::condition_variable done;
    Job* job = nullptr;  // guarded by mutex
    int sleeping = 0;    // guarded by mutex
    int started = 0;     // guarded by mutex
    std::atomic<uint64_t> epoch{0};
    std::atomic<int> active{0};
    std::atomic<int> limit{within_bounds(static_cast<int>(std::thread::hardware_concurrency()))};

    void worker() {
        uint64_t seen = 0;
        for (;;) {
            if (!spin_until([&] { return epoch.load(std::memory_order_acquire) != seen; })) {
                std::unique_lock<std::mutex> lock(mutex);
                sleeping++;
                wake.wait(lock, [&] { return epoch.load(std::memory_order_relaxed) != seen; });
                sleeping--;
            }
            Job* mine = nullptr;
            {
                std::lock_guard<std::mutex> lock(mutex);
                seen = epoch.load(std::memory_order_relaxed);
                if (job != nullptr && job->helpers_wanted > 0) {
                    job->helpers_wanted--;
                    active.fetch_add(1, std::memory_order_relaxed);
                    mine = job;
                }
            }
            if (mine == nullptr) continue;
            mine->work();
            if (active.fetch_sub(1, std::memory_order_acq_rel) == 1) {
                std::lock_guard<std::mutex> lock(mutex);
                done.notify_one();
            }
        }
    }

    // Starts workers up to `wanted`; returns how many there are (the system may refuse).
    int ensure_workers(int wanted) {
        std::lock_guard<std::mutex> lock(mutex);
        if (started >= wanted) return started;
#if !defined(_WIN32)
        // Signals belong to the JVM's own threads.
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
#endif
        try {
            while (started < wanted) {
                std::thread([this] { worker(); }).detach();
                started++;
            }
        } catch (...) {
            // Out of threads: go on with those there are.
        }
#if !defined(_WIN32)
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
#endif
        return started;
    }

    // The caller holds `exclusive`.
    void run(Job& work, int helpers) {
        work.helpers_wanted = helpers;
        int sleepers;
        {
            std::lock_guard<std::mutex> lock(mutex);
            job = &work;
            epoch.fetch_add(1, std::memory_order_release);
            sleepers = sleeping;
        }
        if (sleepers > 0) {
            if (helpers == 1) {
                wake.notify_one();
            } else {
                wake.notify_all();
            }
        }
        work.work();
        {
            std::lock_guard<std::mutex> lock(mutex);
            job = nullptr;  // nobody joins from here on
        }
        auto idle = [&] { return active.load(std::memory_order_acquire) == 0; };
        if (!spin_until(idle)) {
            std::unique_lock<std::mutex> lock(mutex);
            done.wait(lock, idle);
        }
        work.rethrow();
    }
};

// Never destroyed: workers may be parked in it while the process exits.
Pool& pool() {
    static Pool* instance = new Pool();
    return *instance;
}

void run_serially(int64_t n, int64_t grain, ChunkFn fn, void* context) {
    for (int64_t begin = 0; begin < n; begin += grain) {
        fn(context, begin, n - begin < grain ? n : begin + grain);
    }
}

}  // namespace

void set_num_threads(int threads) {
    pool().limit.store(within_bounds(threads));
}

int num_threads() { return pool().limit.load(std::memory_order_relaxed); }

bool in_parallel_region() { return inside_region; }

void parallel_for_raw(int64_t n, int64_t grain, ChunkFn fn, void* context) {
    if (n <= 0) return;
    if (grain < 1) grain = 1;
    int64_t chunks = (n + grain - 1) / grain;
    Pool& p = pool();
    int limit = p.limit.load(std::memory_order_relaxed);
    if (chunks == 1 || limit == 1 || inside_region) {
        run_serially(n, grain, fn, context);
        return;
    }
    std::unique_lock<std::mutex> own(p.exclusive, std::try_to_lock);
    if (!own.owns_lock()) {
        run_serially(n, grain, fn, context);
        return;
    }
    int helpers = static_cast<int>(chunks < limit ? chunks : limit) - 1;
    int workers = p.ensure_workers(helpers);
    if (workers < helpers) helpers = workers;
    Job job;
    job.fn = fn;
    job.context = context;
    job.n = n;
    job.grain = grain;
    p.run(job, helpers);
}

void openblas_callback(int /*sync*/, void (*dojob)(int, void*, int), int numjobs, size_t elsize, void* jobdata,
                       int dojob_data) {
    auto one = [&](int64_t index) {
        dojob(static_cast<int>(index), static_cast<char*>(jobdata) + static_cast<size_t>(index) * elsize, dojob_data);
    };
    if (numjobs <= 1) {
        if (numjobs == 1) one(0);
        return;
    }
    if (!inside_region) {
        Pool& p = pool();
        std::lock_guard<std::mutex> own(p.exclusive);
        if (p.ensure_workers(numjobs - 1) >= numjobs - 1) {
            auto chunk = [&](int64_t begin, int64_t end) {
                for (int64_t i = begin; i < end; i++) one(i);
            };
            Job job;
            job.fn = &detail::call_chunk<decltype(chunk)>;
            job.context = &chunk;
            job.n = numjobs;
            job.grain = 1;
            p.run(job, numjobs - 1);
            return;
        }
    }
    // Called from inside a chunk, where the workers are taken: the jobs still wait for each other, so they need
    // threads.
    std::vector<std::thread> threads;
    threads.reserve(static_cast<size_t>(numjobs));
    for (int i = 1; i < numjobs; i++) threads.emplace_back([&, i] { one(i); });
    one(0);
    for (auto& t : threads) t.join();
}

}  // namespace merapi
