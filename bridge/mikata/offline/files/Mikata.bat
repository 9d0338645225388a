@echo off
rem ASCII only: cmd loses its place in a batch file with longer characters.
setlocal EnableExtensions DisableDelayedExpansion
chcp 65001 >nul
set "MIKATA_JARS=%~dp0jars"
if not defined LOCALAPPDATA goto stick
set "PROBE=%LOCALAPPDATA%\mikata-%RANDOM%%RANDOM%"
md "%PROBE%" >nul 2>nul
if not exist "%PROBE%\" goto stick
rd "%PROBE%" >nul 2>nul
goto start
:stick
rem The profile cannot be written: settings and caches stay beside this file, for this process alone.
set "USERPROFILE=%~dp0profile"
set "HOME=%USERPROFILE%"
set "APPDATA=%USERPROFILE%\AppData\Roaming"
set "LOCALAPPDATA=%USERPROFILE%\AppData\Local"
set "TEMP=%LOCALAPPDATA%\Temp"
set "TMP=%TEMP%"
set "WIN_PD_OVERRIDE_APPDATA=%APPDATA%"
set "WIN_PD_OVERRIDE_LOCAL_APPDATA=%LOCALAPPDATA%"
set JAVA_TOOL_OPTIONS="-Duser.home=%USERPROFILE%"
if not exist "%APPDATA%\" md "%APPDATA%"
if not exist "%TEMP%\" md "%TEMP%"
:start
"%~dp0python\python.exe" -X utf8 -m mikata imagej %*
set "STATUS=%ERRORLEVEL%"
if not "%STATUS%"=="0" pause
exit /b %STATUS%
