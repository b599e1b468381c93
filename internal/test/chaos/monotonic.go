//go:build unix

package chaos

import "golang.org/x/sys/unix"

// now returns the machine's monotonic clock in ns, which is the same for all
// its processes.
func now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err)
	}
	return ts.Nano()
}
