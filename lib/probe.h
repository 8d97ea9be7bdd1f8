/* probe.h - static probes (USDT) of provider `colock`, for bpftrace, perf, systemtap and gdb. colock(3) lists them.
 *
 * A probe that nobody is attached to is one nop. Its arguments are what lies in registers or memory at that place: an
 * argument that has to be computed for the probe alone would cost every caller. Without sys/sdt.h, or configured with
 * --disable-probes, nothing is left of them.
 */
#ifndef COLOCKP_PROBE_H
#define COLOCKP_PROBE_H

#ifdef COLOCKP_PROBES
#ifdef __clang__
#define STAP_SDT_ARG_CONSTRAINT nr /* else it copies every argument to the stack */
#endif
#include <sys/sdt.h>
#define COLOCKP_PROBE2(name, a, b) STAP_PROBE2(colock, name, a, b)
#define COLOCKP_PROBE3(name, a, b, c) STAP_PROBE3(colock, name, a, b, c)
#define COLOCKP_PROBE4(name, a, b, c, d) STAP_PROBE4(colock, name, a, b, c, d)
#define COLOCKP_PROBE5(name, a, b, c, d, e) STAP_PROBE5(colock, name, a, b, c, d, e)
#else
/* Never evaluated; yet what is passed to a probe alone counts as used. */
#define COLOCKP_PROBE2(name, a, b) ((void)sizeof(a), (void)sizeof(b))
#define COLOCKP_PROBE3(name, a, b, c) (COLOCKP_PROBE2(name, a, b), (void)sizeof(c))
#define COLOCKP_PROBE4(name, a, b, c, d) (COLOCKP_PROBE3(name, a, b, c), (void)sizeof(d))
#define COLOCKP_PROBE5(name, a, b, c, d, e) (COLOCKP_PROBE4(name, a, b, c, d), (void)sizeof(e))
#endif

#endif
