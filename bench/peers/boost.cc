// boost.cc - Boost.Interprocess's file_lock, for boost.c, which is C.
#include <boost/interprocess/sync/file_lock.hpp>
#include <cstdio>
#include <cstdlib>

using boost::interprocess::file_lock;

extern "C" {

void *boost_open(const char *path) {
  try {
    return new file_lock(path);
  } catch (const std::exception &e) {
    std::fprintf(stderr, "Boost: %s\n", e.what());
    std::exit(71);
  }
}

void boost_lock(void *lock, int exclusive) {
  if (exclusive)
    static_cast<file_lock *>(lock)->lock();
  else
    static_cast<file_lock *>(lock)->lock_sharable();
}

void boost_unlock(void *lock) { static_cast<file_lock *>(lock)->unlock(); } // either

void boost_close(void *lock) { delete static_cast<file_lock *>(lock); }

}
