"""The small programs of SCTBench, as processes: how many schedules until the bug shows?

SCTBench is the common measure of systematic concurrency testing (Thomson, Donaldson & Betts,
"Concurrency testing using schedule bounding: an empirical study", PPoPP 2014). Its programs have
threads; these have processes, shared memory and POSIX semaphores, and are otherwise the same: as
many tasks, in the same order of birth, the same accesses in the same order, the same check.
"""
