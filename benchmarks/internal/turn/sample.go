//go:build unix

package turn

import (
	"cmp"
	"time"

	"golang.org/x/sys/unix"
)

// Sample is what was measured in one turn.
type Sample struct {
	Elapsed   time.Duration
	Latencies []time.Duration // of each operation, or of each wait for a shared key
	PerWorker []int           // operations
	Reads     []int           // those of PerWorker that only read
	CPU       time.Duration   // of the clients, system calls included
	ServerCPU time.Duration   // of all servers, system calls included
	Mallocs   uint64          // of the clients
	Memory    float64         // bytes of the client per lease
	Failed    int             // operations
	Error     string          // of the first operation that failed
	Holds     []Hold          // of a shared key
	Limit     int             // how many may hold it at once; 0 is one
	Broken    []string        // tokens that did not grow
}

// Hold is a period in which a worker held the key, by [Now].
type Hold struct {
	From, To int64
	Token    int64 // 0 if the library has none
	Read     bool  // beside other readers
	Slot     int   // of a key with a limit, from 1; 0 if the library has none
}

// Ops is the number of operations.
func (s *Sample) Ops() int {
	n := 0
	for _, w := range s.PerWorker {
		n += w
	}
	return n
}

// Fail counts n failed operations and keeps the text of the first.
func (s *Sample) Fail(text string, n int) {
	s.Failed += n
	s.Error = cmp.Or(s.Error, text)
}

// Merge adds up samples that were taken at the same time.
func Merge(parts []Sample) Sample {
	var all Sample
	for _, p := range parts {
		all.Elapsed = max(all.Elapsed, p.Elapsed)
		all.Latencies = append(all.Latencies, p.Latencies...)
		all.PerWorker = append(all.PerWorker, p.PerWorker...)
		all.Reads = append(all.Reads, p.Reads...)
		all.CPU += p.CPU
		all.ServerCPU += p.ServerCPU
		all.Mallocs += p.Mallocs
		all.Memory = max(all.Memory, p.Memory)
		all.Fail(p.Error, p.Failed)
		all.Holds = append(all.Holds, p.Holds...)
		all.Broken = append(all.Broken, p.Broken...)
	}
	return all
}

// Now is the monotonic clock of the machine in ns, the same for all processes.
func Now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err)
	}
	return ts.Nano()
}

// CPU is the processor time this process has used, system calls included.
func CPU() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
