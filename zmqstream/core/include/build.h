/* How the core was built, for bug reports. */
#ifndef ZMQSTREAM_BUILD_H
#define ZMQSTREAM_BUILD_H

#if defined __clang__
#define ZS_COMPILER "Clang " __clang_version__
#elif defined __GNUC__
#define ZS_COMPILER "GCC " __VERSION__
#elif defined _MSC_FULL_VER
#define ZS_DIGITS_(number) #number
#define ZS_DIGITS(number) ZS_DIGITS_ (number)
#define ZS_COMPILER "MSVC " ZS_DIGITS (_MSC_FULL_VER)
#else
#define ZS_COMPILER "unknown"
#endif

/* MSVC does not tell; its release builds, which are all that setuptools makes, optimise. */
#if defined __OPTIMIZE__ || (defined _MSC_VER && !defined _DEBUG)
#define ZS_OPTIMISED 1
#else
#define ZS_OPTIMISED 0
#endif

#if defined __has_feature
#define ZS_HAS(feature) __has_feature (feature)
#else
#define ZS_HAS(feature) 0
#endif
#if defined __SANITIZE_ADDRESS__ || ZS_HAS (address_sanitizer)
#define ZS_SANITIZED 1
#else
#define ZS_SANITIZED 0
#endif

#ifdef NDEBUG
#define ZS_ASSERTIONS 0
#else
#define ZS_ASSERTIONS 1
#endif

#endif
